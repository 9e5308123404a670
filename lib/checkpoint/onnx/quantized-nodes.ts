import type { QuantizedForm } from '../checkpoint.js';
import { attribute, elementCode, field, joined, node } from './encode.js';

/** The domain of onnxruntime's own operators, and the version of them that is meant. */
const CONTRIBUTED = { domain: 'com.microsoft', version: 1 } as const;

/** The field of a model that says so, unless it does already. */
export function importOf(domains: ReadonlySet<string>): Uint8Array {
  const { domain, version } = CONTRIBUTED;
  return domains.has(domain) ? new Uint8Array() : field(8, joined(field(1, domain), field(2, version)));
}

/** Makes names that no value of the model has: `base`, or `base` with a number. */
interface FreshNames {
  unused(base: string): string;
}

/**
 * Writes the nodes that multiply by a weight of a few bits, or look rows of it up: those of
 * MatMulNBits and GatherBlockQuantized, or of the dynamic quantisation by which onnxruntime
 * multiplies whole numbers of 8 bits.
 */
export class QuantizedNodes {
  readonly #nodes: Uint8Array[] = [];
  readonly #scales: string;
  readonly #left: string | undefined;
  readonly #right: string | undefined;

  constructor(
    private readonly form: QuantizedForm,
    private readonly names: FreshNames,
  ) {
    const { scales, halfScales, correction } = form;
    this.#scales = halfScales ? this.#cast(scales) : scales;
    if (correction === undefined) return;
    const whole = this.#cast(correction.left);
    this.#left = this.#add('Mul', `${correction.left}.scaled`, [whole, correction.scales]);
    this.#right = this.#cast(correction.right);
  }

  /**
   * Takes the nodes so far: at first those that make constants, which programs compute once, when
   * they load the model.
   */
  take(): Uint8Array[] {
    return this.#nodes.splice(0);
  }

  /**
   * x W, or x^T W, plus what is added, as the value `output`, by nodes of this name.
   *
   * @param rounded what inputs of the same graph were rounded to, by their names and what smooths
   *   them: layers share it
   */
  multiply(
    x: string,
    name: string,
    output: string,
    rounded: Map<string, RoundedInput>,
    { turned = false, added }: ProductOptions = {},
  ): void {
    const input = turned ? this.#add('Transpose', `${output}.turned`, [x]) : x;
    const product = added === undefined ? output : this.names.unused(`${output}.product`);
    this.#multiply(input, name, product, rounded);
    if (added !== undefined) this.#nodes.push(node('Add', `${name}.added`, [product, added], output));
  }

  #multiply(x: string, name: string, output: string, rounded: Map<string, RoundedInput>): void {
    const { correction } = this.form;
    const main = correction === undefined ? output : this.names.unused(`${output}.rounded`);
    if (this.form.kind === 'channels') this.#multiplyWhole(x, name, main, rounded);
    else this.#multiplyBlocks(x, name, main);
    if (correction === undefined) return;
    const inner = this.#add('MatMul', `${output}.inner`, [x, this.#left!]);
    const corrected = this.#add('MatMul', `${output}.correction`, [inner, this.#right!]);
    this.#nodes.push(node('Add', `${name}.corrected`, [main, corrected], output));
  }

  /** The rows of W with these numbers, as the value `output`. */
  lookUp(rows: string, name: string, output: string): void {
    const { codes, zeros, bits, block } = this.form;
    const inputs = [codes, rows, this.#scales, ...(zeros === undefined ? [] : [zeros])];
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: block, bits };
    this.#nodes.push(contributed('GatherBlockQuantized', name, inputs, output, attributes));
  }

  #multiplyBlocks(x: string, name: string, output: string): void {
    const { codes, zeros, bits, block, inputs: k, outputs: n, accuracyLevel } = this.form;
    const inputs = [x, codes, this.#scales, ...(zeros === undefined ? [] : [zeros])];
    const attributes: Record<string, number> = { K: k, N: n, bits, block_size: block };
    if (accuracyLevel !== undefined) attributes.accuracy_level = accuracyLevel;
    this.#nodes.push(contributed('MatMulNBits', name, inputs, output, attributes));
  }

  /** As onnxruntime's quantize_dynamic writes it, so that its fusions find it. */
  #multiplyWhole(x: string, name: string, output: string, rounded: Map<string, RoundedInput>): void {
    const { value, scale, zero } = this.#round(x, rounded);
    const sums = this.#add('MatMulInteger', `${output}.sums`, [value, this.form.codes, zero]);
    const wide = this.#cast(sums);
    const scales = this.#add('Mul', `${output}.scales`, [scale, this.#scales]);
    this.#nodes.push(node('Mul', name, [wide, scales], output));
  }

  #round(x: string, rounded: Map<string, RoundedInput>): RoundedInput {
    const { smoothing, halfScales } = this.form;
    const key = JSON.stringify([x, smoothing]);
    const known = rounded.get(key);
    if (known !== undefined) return known;
    const factor = smoothing !== undefined && halfScales ? this.#cast(smoothing) : smoothing;
    const smooth = factor === undefined ? x : this.#add('Mul', `${x}.smoothed`, [x, factor]);
    const value = this.names.unused(`${x}.quantized`);
    const scale = this.names.unused(`${x}.scale`);
    const zero = this.names.unused(`${x}.zero_point`);
    // A NodeProto with three outputs.
    const one = node('DynamicQuantizeLinear', value, [smooth], value, field(2, scale), field(2, zero));
    this.#nodes.push(one);
    const made = { value, scale, zero };
    rounded.set(key, made);
    return made;
  }

  #cast(value: string): string {
    return this.#add('Cast', `${value}.float`, [value], attribute('to', elementCode('F32')));
  }

  #add(opType: string, base: string, inputs: readonly string[], ...attributes: readonly Uint8Array[]): string {
    const output = this.names.unused(base);
    this.#nodes.push(node(opType, output, inputs, output, ...attributes));
    return output;
  }
}

interface ProductOptions {
  /** Whether x is transposed first. */
  readonly turned?: boolean;
  /** A value that is added to the product. */
  readonly added?: string | undefined;
}

/** An input of layers as whole numbers of 8 bits: value = (code - zero) scale. */
export interface RoundedInput {
  readonly value: string;
  readonly scale: string;
  readonly zero: string;
}

function contributed(
  opType: string,
  name: string,
  inputs: readonly string[],
  output: string,
  attributes: Readonly<Record<string, number>>,
): Uint8Array {
  const fields = Object.entries(attributes).map(([key, value]) => attribute(key, value));
  return node(opType, name, inputs, output, ...fields, field(7, CONTRIBUTED.domain));
}
