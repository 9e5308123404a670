import { describe } from '../errors.js';
import { MAX_JSON_DEPTH } from './limits.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const LETTER_E = 0x65;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const MAX_U64 = 2n ** 64n - 1n;
/** This many decimal digits always fit in a double without rounding. */
const EXACT_DIGITS = 15;
/** The digits of 2^64 - 1. */
const MAX_U64_DIGITS = 20;
/** A little less than the largest double: other parsers round differently close to it. */
const MAX_NUMBER = 1e308;

/**
 * Reads JSON (RFC 8259) from bytes, value by value, as the caller expects it.
 *
 * `JSON.parse` cannot judge a checkpoint's header: it silently takes the last of two equal keys,
 * reads `1.0` and `1e0` as the integer 1, rounds integers beyond 2^53, and accepts lone surrogates.
 * Strings are copies, so no long-lived name keeps a header of many megabytes in memory.
 *
 * `fail` must throw the caller's error for a fault.
 */
export class JsonReader {
  readonly #bytes: Buffer;
  readonly #fail: (message: string) => never;
  #at = 0;
  #depth = 0;

  /** The bytes must be valid UTF-8. */
  constructor(bytes: Uint8Array, fail: (message: string) => never) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fail = fail;
  }

  /** Reads an object; `member` must read the value that follows the key, and detect equal keys. */
  object(member: (key: string) => void): void {
    this.#open(OPEN_OBJECT, 'an object');
    for (let first = true; !this.#closes(CLOSE_OBJECT, first); first = false) {
      const key = this.string();
      if (this.#next() !== COLON) this.fault("expected ':'");
      this.#at++;
      member(key);
    }
  }

  /** Reads an array; `item` must read one value. */
  array(item: () => void): void {
    this.#open(OPEN_ARRAY, 'an array');
    for (let first = true; !this.#closes(CLOSE_ARRAY, first); first = false) item();
  }

  /** Reads a string. */
  string(): string {
    if (this.#next() !== QUOTE) this.fault('expected a string');
    const start = ++this.#at;
    let ascii = true;
    let escaped = false;
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) return this.fault('an unterminated string');
      if (byte === QUOTE) break;
      if (byte < 0x20) return this.fault('a control character in a string');
      if (byte >= 0x80) ascii = false;
      if (byte === BACKSLASH) {
        escaped = true;
        this.#at++;
      }
      this.#at++;
    }
    const end = this.#at++;
    if (escaped) return this.#unescape(start - 1, end + 1);
    return this.#bytes.toString(ascii ? 'latin1' : 'utf8', start, end);
  }

  /** Reads an integer of 0 to 2^64 - 1, written as digits only: no sign, point or exponent. */
  unsigned(): bigint {
    const first = this.#next();
    if (first === undefined || first < ZERO || first > NINE) return this.fault('expected an integer of at least 0');
    const start = this.#at;
    let value = 0;
    let byte: number | undefined = first;
    while (byte !== undefined && byte >= ZERO && byte <= NINE) {
      value = value * 10 + (byte - ZERO);
      byte = this.#bytes[++this.#at];
    }
    const digits = this.#at - start;
    if (first === ZERO && digits > 1) this.fault('an integer with a leading 0');
    if (byte === POINT || isExponent(byte)) this.fault('expected an integer, got a number with a point or an exponent');
    if (digits <= EXACT_DIGITS) return BigInt(value);
    if (digits > MAX_U64_DIGITS) this.fault('an integer beyond 2^64 - 1');
    const exact = BigInt(this.#bytes.toString('latin1', start, this.#at));
    if (exact > MAX_U64) this.fault('an integer beyond 2^64 - 1');
    return exact;
  }

  /** Reads `null` if it comes next; returns whether it did. */
  null(): boolean {
    if (this.#next() !== 0x6e) return false;
    return this.#word('null', true);
  }

  /**
   * Reads any value. Equal keys in an object are a fault, and so is `__proto__`, which would not be
   * an ordinary key.
   */
  value(): unknown {
    const byte = this.#next();
    if (byte === OPEN_OBJECT) {
      const members: Record<string, unknown> = {};
      this.object((key) => {
        if (Object.hasOwn(members, key)) this.fault(`duplicate key ${describe(key)}`);
        if (key === '__proto__') this.fault('the key "__proto__"');
        members[key] = this.value();
      });
      return members;
    }
    if (byte === OPEN_ARRAY) {
      const items: unknown[] = [];
      this.array(() => items.push(this.value()));
      return items;
    }
    if (byte === QUOTE) return this.string();
    if (byte === 0x74) return this.#word('true', true);
    if (byte === 0x66) return this.#word('false', false);
    if (byte === 0x6e) return this.#word('null', null);
    return this.#number();
  }

  /** Skips any value. */
  skip(): void {
    const byte = this.#next();
    if (byte === OPEN_OBJECT) this.object(() => this.skip());
    else if (byte === OPEN_ARRAY) this.array(() => this.skip());
    else if (byte === QUOTE) this.string();
    else if (byte === 0x74) this.#word('true', true);
    else if (byte === 0x66) this.#word('false', false);
    else if (byte === 0x6e) this.#word('null', null);
    else this.#number();
  }

  /** Reads any value and returns its text. */
  raw(): string {
    this.#next();
    const start = this.#at;
    this.skip();
    return this.#bytes.toString('utf8', start, this.#at);
  }

  /** Checks that only white space follows. */
  end(): void {
    if (this.#next() !== undefined) this.fault('unexpected text after the end');
  }

  /** Reports a fault at the current position. */
  fault(message: string): never {
    return this.#fail(`${message} (at byte ${this.#at})`);
  }

  /** Skips white space and returns the byte after it. */
  #next(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#at++;
    }
  }

  #open(bracket: number, what: string): void {
    if (this.#next() !== bracket) this.fault(`expected ${what}`);
    if (++this.#depth > MAX_JSON_DEPTH) this.fault(`more than ${MAX_JSON_DEPTH} nested objects and arrays`);
    this.#at++;
  }

  /** Skips the closing bracket, or the comma before every item but the first. */
  #closes(bracket: number, first: boolean): boolean {
    const byte = this.#next();
    if (byte === bracket) {
      this.#at++;
      this.#depth--;
      return true;
    }
    if (!first) {
      if (byte !== COMMA) this.fault(`expected ',' or '${String.fromCharCode(bracket)}'`);
      this.#at++;
    }
    return false;
  }

  #word<T>(word: string, meaning: T): T {
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word) this.fault(`expected ${word}`);
    this.#at += word.length;
    return meaning;
  }

  #number(): number {
    const start = this.#at;
    if (this.#bytes[this.#at] === MINUS) this.#at++;
    const leading = this.#at;
    if (this.#digits('expected a value') > 1 && this.#bytes[leading] === ZERO) this.fault('a number with a leading 0');
    if (this.#bytes[this.#at] === POINT) {
      this.#at++;
      this.#digits('expected digits after the point');
    }
    if (isExponent(this.#bytes[this.#at])) {
      const sign = this.#bytes[++this.#at];
      if (sign === MINUS || sign === 0x2b) this.#at++;
      this.#digits('expected digits in the exponent');
    }
    const value = Number(this.#bytes.toString('latin1', start, this.#at));
    return Math.abs(value) > MAX_NUMBER ? this.fault('a number too large') : value;
  }

  /** Skips at least one digit; returns how many. */
  #digits(otherwise: string): number {
    const start = this.#at;
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined || byte < ZERO || byte > NINE) break;
      this.#at++;
    }
    if (this.#at === start) this.fault(otherwise);
    return this.#at - start;
  }

  /**
   * Decodes a string token with its quotes. The engine's own parser knows the escapes, but accepts
   * lone surrogates.
   */
  #unescape(start: number, end: number): string {
    let text: string;
    try {
      text = JSON.parse(this.#bytes.toString('utf8', start, end));
    } catch {
      return this.fault('an unknown escape in a string');
    }
    return /\p{Surrogate}/u.test(text) ? this.fault('half of a surrogate pair in a string') : text;
  }
}

function isExponent(byte: number | undefined): boolean {
  return byte !== undefined && (byte | 0x20) === LETTER_E;
}
