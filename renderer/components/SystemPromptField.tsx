import TextareaAutosize from 'react-textarea-autosize';
import controls from './controls.module.css';

interface SystemPromptFieldProps {
  label: string;
  value: string;
  onChange: (text: string) => void;
}

export function SystemPromptField({ label, value, onChange }: SystemPromptFieldProps) {
  return (
    <TextareaAutosize
      aria-label={label}
      className={controls.textarea}
      placeholder="For example: You answer briefly and in plain words."
      minRows={3}
      maxRows={12}
      maxLength={200_000}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}
