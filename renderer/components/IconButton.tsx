import type { ComponentProps, ReactNode } from 'react';
import css from './controls.module.css';
import { Tip } from './Tip';

interface IconButtonProps extends ComponentProps<'button'> {
  label: string;
  shortcut?: string;
  tipSide?: 'top' | 'bottom' | 'left' | 'right';
  small?: boolean;
  children: ReactNode;
}

/** A button that shows only an icon: the label is its name and its hint. */
export function IconButton({ label, shortcut, tipSide, small, className, children, ...rest }: IconButtonProps) {
  return (
    <Tip text={label} shortcut={shortcut} side={tipSide ?? 'bottom'}>
      <button
        type="button"
        aria-label={label}
        className={`${css.icon} ${small ? css.iconSmall : ''} ${className ?? ''}`}
        {...rest}
      >
        {children}
      </button>
    </Tip>
  );
}
