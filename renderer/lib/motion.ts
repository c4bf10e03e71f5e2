/** The person asked the system for less motion. */
export const lessMotion = (): boolean => window.matchMedia?.('(prefers-reduced-motion: reduce)').matches ?? false;
