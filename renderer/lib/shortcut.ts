const mac = navigator.userAgent.includes('Mac OS');

/** How a shortcut with the platform's main modifier is written. */
export const shortcut = (key: string): string => (mac ? `⌘${key}` : `Ctrl+${key}`);
