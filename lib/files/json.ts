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
/** So many decimal digits always fit in a double without rounding. */
const EXACT_DIGITS = 15;
/** The digits of 2^64 - 1. */
const MAX_U64_DIGITS = 20;
/** A little under the largest double: other parsers round close to it in other ways. */
const MAX_NUMBER = 1e308;

/**
 * Reads JSON (RFC 8259) from bytes, as the caller expects it, value by value.
 *
 * It exists because `JSON.parse` cannot tell what a checkpoint's header must be judged by: it takes the last of two equal
 * keys without a word, reads `1.0` and `1e0` as the integer 1, rounds integers beyond 2^53, and lets lone surrogates pass.
 * Strings are copies, so no long-lived name keeps a header of many megabytes in memory.
 *
 * Whoever makes one says in `fail` what error a fault becomes; it must throw.
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

  /** Reads an object; `member` must read the value that follows the key. Equal keys are its business. */
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
      if (byte === undefined) return this.fault('a string does not end');
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
    if (first === ZERO && digits > 1) this.fault('an integer begins with 0');
    if (byte === POINT || isExponent(byte)) this.fault('expected an integer, got a number with a point or an exponent');
    if (digits <= EXACT_DIGITS) return BigInt(value);
    if (digits > MAX_U64_DIGITS) this.fault('an integer beyond 2^64 - 1');
    const exact = BigInt(this.#bytes.toString('latin1', start, this.#at));
    if (exact > MAX_U64) this.fault('an integer beyond 2^64 - 1');
    return exact;
  }

  /** Reads `null` if it comes next, and says whether it did. */
  null(): boolean {
    if (this.#next() !== 0x6e) return false;
    return this.#word('null', true);
  }

  /**
   * Reads any value. Equal keys in an object are a fault, and so is `__proto__`, which would not be a key like others.
   */
  value(): unknown {
    const byte = this.#next();
    if (byte === OPEN_OBJECT) {
      const members: Record<string, unknown> = {};
      this.object((key) => {
        if (Object.hasOwn(members, key)) this.fault(`the key ${describe(key)} stands there twice`);
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

  /** Reads any value and forgets it. */
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

  /** Checks that nothing but white space follows. */
  end(): void {
    if (this.#next() !== undefined) this.fault('more text after the end');
  }

  /** Reports a fault at the present position. */
  fault(message: string): never {
    return this.#fail(`${message} (at byte ${this.#at})`);
  }

  /** Passes white space and looks at the byte behind it. */
  #next(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#at++;
    }
  }

  #open(bracket: number, what: string): void {
    if (this.#next() !== bracket) this.fault(`expected ${what}`);
    if (++this.#depth > MAX_JSON_DEPTH) this.fault(`more than ${MAX_JSON_DEPTH} objects and arrays inside each other`);
    this.#at++;
  }

  /** Passes the closing bracket, or the comma before every item but the first. */
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
    if (this.#digits('expected a value') > 1 && this.#bytes[leading] === ZERO) this.fault('a number begins with 0');
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

  /** Passes at least one digit, and says how many. */
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

  /** One string token with its quotes: the engine's own parser knows the escapes, but lets lone surrogates pass. */
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
