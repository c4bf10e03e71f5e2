import { Dialog } from 'radix-ui';
import type { ReactNode } from 'react';
import { focusContainer } from '../lib/focusContainer';
import { useReturnFocus } from '../lib/useReturnFocus';
import css from './Drawer.module.css';

interface DrawerProps {
  open: boolean;
  side: 'left' | 'right';
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** In a narrow window: the sidebar or the panel over the conversation, with the focus kept inside. */
export function Drawer({ open, side, title, onClose, children }: DrawerProps) {
  const focus = useReturnFocus(focusContainer);
  return (
    <Dialog.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Dialog.Portal>
        {/* Not Dialog.Overlay, as in SettingsDialog. */}
        <div className={css.overlay} />
        <Dialog.Content className={css.drawer} data-side={side} aria-describedby={undefined} {...focus}>
          <Dialog.Title className="visually-hidden">{title}</Dialog.Title>
          {children}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
