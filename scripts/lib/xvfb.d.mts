export function startXvfb(): Promise<{ display: string; stop(): Promise<void> }>;
