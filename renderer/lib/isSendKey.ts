/**
 * Whether a key press sends: Enter alone, and not the Enter that ends an input method's composition. Some input methods
 * report that one after the composition has ended, with key code 229.
 */
export function isSendKey(
  event: Pick<KeyboardEvent, 'key' | 'shiftKey' | 'altKey' | 'isComposing' | 'keyCode'>,
): boolean {
  return event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.isComposing && event.keyCode !== 229;
}
