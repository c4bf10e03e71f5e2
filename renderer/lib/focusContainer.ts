/**
 * On opening a popover or drawer: focus itself, not its first button, which would show that button's hint and invite
 * an accidental press. Tab goes on to the first control.
 */
export function focusContainer(event: Event): void {
  event.preventDefault();
  (event.currentTarget as HTMLElement).focus();
}
