import { Check, Copy } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useStore } from '../store/store';
import { IconButton } from './IconButton';

const shownMs = 1600;

export function CopyButton({ label, getText }: { label: string; getText: () => string }) {
  const [copied, setCopied] = useState(0);

  useEffect(() => {
    if (copied === 0) return;
    const timer = setTimeout(() => setCopied(0), shownMs);
    return () => clearTimeout(timer);
  }, [copied]);

  const copy = async (): Promise<void> => {
    const { announce, report } = useStore.getState();
    try {
      await navigator.clipboard.writeText(getText());
      setCopied((n) => n + 1);
      announce('Copied.');
    } catch {
      report(new Error('The text could not be copied: the system refused access to the clipboard. Try again.'));
    }
  };

  return (
    <IconButton small label={copied > 0 ? 'Copied' : label} onClick={() => void copy()}>
      {copied > 0 ? <Check size={15} aria-hidden /> : <Copy size={15} aria-hidden />}
    </IconButton>
  );
}
