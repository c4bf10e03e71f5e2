import { HunchError } from '../contract/errors';

/** A GGUF's key–value pairs with checked access; every error names the file, the key and the value. */
export class Metadata {
  constructor(
    readonly fileName: string,
    private readonly values: Readonly<Record<string, unknown>>,
  ) {}

  has(key: string): boolean {
    return Object.hasOwn(this.values, key);
  }

  /** The value as a short piece of text, for error messages. */
  show(key: string): string {
    const value = this.get(key);
    if (Array.isArray(value)) return `a list of ${value.length}`;
    if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
    return String(value);
  }

  get(key: string): unknown {
    return this.has(key) ? this.values[key] : undefined;
  }

  invalid(key: string, wanted: string): HunchError {
    const found = this.has(key) ? `is ${this.show(key)}` : 'is missing';
    return new HunchError(
      'model-invalid',
      `"${this.fileName}" cannot be used: its key "${key}" ${found}, but must be ${wanted}. Get the file again or choose another model.`,
    );
  }

  /** A whole number within [min, max]; `fallback` when the key is absent. */
  integer(key: string, min: number, max: number, fallback?: number): number {
    if (!this.has(key) && fallback !== undefined) return fallback;
    const value = this.get(key);
    const number = typeof value === 'bigint' ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max) {
      throw this.invalid(key, `a whole number from ${min} to ${max}`);
    }
    return number;
  }

  /** A finite number within [min, max]; `fallback` when the key is absent. */
  number(key: string, min: number, max: number, fallback?: number): number {
    if (!this.has(key) && fallback !== undefined) return fallback;
    const value = this.get(key);
    const number = typeof value === 'bigint' ? Number(value) : value;
    if (typeof number !== 'number' || !(number >= min && number <= max)) {
      throw this.invalid(key, `a number from ${min} to ${max}`);
    }
    return number;
  }

  text(key: string): string | undefined {
    if (!this.has(key)) return undefined;
    const value = this.get(key);
    if (typeof value !== 'string') throw this.invalid(key, 'a text');
    return value;
  }

  flag(key: string): boolean | undefined {
    if (!this.has(key)) return undefined;
    const value = this.get(key);
    if (typeof value !== 'boolean') throw this.invalid(key, 'true or false');
    return value;
  }

  texts(key: string): string[] | undefined {
    return this.list(key, 'texts', (value): value is string => typeof value === 'string');
  }

  numbers(key: string): number[] | undefined {
    return this.list(key, 'numbers', (value): value is number => typeof value === 'number' && !Number.isNaN(value));
  }

  private list<T>(key: string, what: string, fits: (value: unknown) => value is T): T[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.get(key);
    if (!Array.isArray(value) || !value.every(fits)) throw this.invalid(key, `a list of ${what}`);
    return value;
  }
}
