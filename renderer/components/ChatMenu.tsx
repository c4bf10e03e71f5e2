import { Ellipsis, FileJson, FileText, Pencil, Trash2 } from 'lucide-react';
import { DropdownMenu } from 'radix-ui';
import { useStore } from '../store/store';
import controls from './controls.module.css';

interface ChatMenuProps {
  chatId: string;
  title: string;
  tabStop: boolean;
  className: string;
}

export function ChatMenu({ chatId, title, tabStop, className }: ChatMenuProps) {
  const { setRenaming, removeChat, exportChat } = useStore.getState();
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>
        <button
          type="button"
          className={`${controls.icon} ${controls.iconSmall} ${className}`}
          aria-label={`Actions for ${title}`}
          tabIndex={tabStop ? 0 : -1}
        >
          <Ellipsis size={16} aria-hidden />
        </button>
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          className={controls.menu}
          align="start"
          sideOffset={4}
          // Renaming takes the focus itself; giving it back to the trigger would end it at once.
          onCloseAutoFocus={(event) => {
            if (useStore.getState().renamingId === chatId) event.preventDefault();
          }}
        >
          <DropdownMenu.Item className={controls.menuItem} onSelect={() => setRenaming(chatId)}>
            <Pencil size={15} aria-hidden /> Rename <kbd>F2</kbd>
          </DropdownMenu.Item>
          <DropdownMenu.Item className={controls.menuItem} onSelect={() => void exportChat(chatId, 'markdown')}>
            <FileText size={15} aria-hidden /> Export as Markdown…
          </DropdownMenu.Item>
          <DropdownMenu.Item className={controls.menuItem} onSelect={() => void exportChat(chatId, 'json')}>
            <FileJson size={15} aria-hidden /> Export as JSON…
          </DropdownMenu.Item>
          <DropdownMenu.Separator className={controls.menuSeparator} />
          <DropdownMenu.Item
            className={`${controls.menuItem} ${controls.menuDanger}`}
            onSelect={() => void removeChat(chatId)}
          >
            <Trash2 size={15} aria-hidden /> Delete <kbd>Del</kbd>
          </DropdownMenu.Item>
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}
