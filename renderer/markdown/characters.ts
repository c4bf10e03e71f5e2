import type { Code } from 'micromark-util-types';

/** micromark's character codes: ASCII as it is, negative for line endings, tabs and virtual spaces, null for the end. */
export const dollar = 36;
export const parenOpen = 40;
export const parenClose = 41;
export const bracketOpen = 91;
export const backslash = 92;
export const bracketClose = 93;

export const isLineEnding = (code: Code): boolean => code !== null && code < -2;
export const isSpace = (code: Code): boolean => code !== null && (code < 0 || code === 32);
export const isDigit = (code: Code): boolean => code !== null && code >= 48 && code <= 57;
