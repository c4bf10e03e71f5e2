import { CircleHelp } from 'lucide-react';
import { useState } from 'react';
import { Tooltip } from 'radix-ui';
import css from './SamplingControls.module.css';
import tip from './Tip.module.css';

/** An explanation on hover, focus or click (touch has no hover). */
export function HintButton({ about, text }: { about: string; text: string }) {
  const [open, setOpen] = useState(false);
  return (
    <Tooltip.Root open={open} onOpenChange={setOpen}>
      <Tooltip.Trigger asChild>
        <button type="button" className={css.hint} aria-label={`About ${about}`} onClick={() => setOpen(true)}>
          <CircleHelp size={14} aria-hidden />
        </button>
      </Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content className={tip.tip} side="top" sideOffset={6} collisionPadding={10}>
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
