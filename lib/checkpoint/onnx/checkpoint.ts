import { basename, dirname, join, relative, sep } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../../errors.js';
import { exists, type OpenFile, openFile, readAt } from '../../files/files.js';
import { MAX_INITIALIZERS } from '../../files/limits.js';
import type { StoredType } from '../../tensor/dtype.js';
import type {
  ByteRange,
  Checkpoint,
  FileLayout,
  ModelGraph,
  TensorChange,
  TensorInfo,
  UnlistedTensors,
} from '../checkpoint.js';
import { readConfig } from '../config.js';
import { inPlaceLayout, unknownTensor } from '../layout.js';
import { PartList } from '../parts.js';
import type { Cut } from './cuts.js';
import { type DataLayout, type ExternalTensor, relaid } from './data-layout.js';
import { entry as externalEntry } from './encode.js';
import { ExternalFiles } from './external-data.js';
import { readGraph, readHead } from './graph.js';
import { modelGraph } from './model-graph.js';
import { type Field, ProtobufFile } from './protobuf.js';
import type { SplicedFile } from './replacement.js';
import { splice } from './splice.js';
import { checkStructure } from './structure.js';
import { type Constant, decodeVarints, readTensorProto } from './tensor-proto.js';
import { Unlisted } from './unlisted.js';
import type { Usage, Usages } from './usage.js';

/** A tensor with its file, and its use in the graph. */
interface TensorEntry {
  readonly info: TensorInfo;
  readonly constant: Constant;
  /** Undefined for data in the model's file. */
  readonly external: ExternalTensor | undefined;
  /** The messages around its data, the outermost first; the last is its TensorProto. */
  readonly within: readonly Field[];
  readonly usage: Usage | undefined;
}

/**
 * Opens an ONNX model, wherever its data are: the initialisers of its graph and of the graphs
 * inside it, and the matrices of `Constant` nodes. Those in functions, sparse ones and attributes
 * of other operators are counted, not listed; they are copied with the file unchanged.
 *
 * A model with external data is a folder: its path is then the folder that contains it.
 * `config.json` is read from the model's folder or, if that is named `onnx`, from the one around
 * it: this is the layout of optimum and transformers.js.
 *
 * @param path the absolute path that the user opened: the file, or a folder that contains it
 * @param file the model
 * @throws {@link CheckpointError} kinds `NotOnnx`, `InvalidProtobuf`, `Truncated`, `InvalidTensor`,
 *   `InvalidShape`, `InvalidDataLength`, `UnknownElementType`, `DuplicateTensor`, `InvalidName`,
 *   `NameTooLong`, `InvalidExternalData`, `UnsafeFileName`, `MissingShard`, and those of the limits
 *   (`TooMany...`, `...TooDeep`); `ERR_CHECKPOINT_IO`.
 */
export async function openOnnx(path: string, file: string): Promise<Checkpoint> {
  const model = await openFile(file);
  try {
    const proto = new ProtobufFile(model.handle, file, model.size);
    const head = await readHead(proto);
    const externalFiles = new ExternalFiles(file);
    const unlisted = new Unlisted();
    const constants = new Map<number, Constant>();
    const externals = new Map<Constant, ExternalTensor>();
    const around = new Map<Constant, readonly Field[]>();
    await checkStructure(proto, async (tensor, names, within) => {
      const constant = await readTensorProto(proto, tensor);
      unlisted.add(constant, names);
      const { name, data, bytes } = constant;
      if (data.kind === 'external') {
        const place = await externalFiles.place(name, data.entries, bytes);
        externals.set(constant, { name, bytes, ...place, entry: data.offset, within });
      }
      // Other vectors and scalars are shapes, axes and the like, by the thousand.
      if (constant.dims.length < 2 && names.at(-1) !== 'initializer') return;
      around.set(constant, within);
      if (constants.set(tensor.begin, constant).size > MAX_INITIALIZERS) {
        throw proto.fault('TooManyTensors', `has more than ${MAX_INITIALIZERS} initializers and constant matrices`);
      }
    });
    const { tensors, usages, wiring } = await readGraph(proto, head.graph, constants);

    const root = path !== file ? path : externals.size > 0 ? dirname(file) : file;
    const prefix = root === file ? '' : relative(root, dirname(file)).split(sep).filter(Boolean);
    const named = (name: string) => [...prefix, name].join('/');
    const aliases = aliasesOf(tensors, usages);
    const entries = new Map<string, TensorEntry>();
    for (const [name, constant] of tensors) {
      const { data, dims, bytes, type } = constant;
      const place = externals.get(constant);
      const usage = usages.of(constant);
      const alias = aliases.get(name);
      const info: TensorInfo = {
        name,
        dtype: type.dtype,
        shape: dims,
        bytes,
        file: named(place?.file.location ?? basename(file)),
        offset: place?.offset ?? (data.kind === 'inline' ? data.offset : data.kind === 'varints' ? data.span.begin : 0),
        ...(alias === undefined ? {} : { alias }),
        ...(usage?.orientation === undefined ? {} : { orientation: usage.orientation }),
      };
      entries.set(name, { info, constant, external: place, within: around.get(constant)!, usage });
      unlisted.remove(constant);
    }
    const config = await configOf(file);
    const source = { file: named(basename(file)), size: model.size, ...head, wiring };
    const data = [...externals.values()];
    return new OnnxCheckpoint(root, file, source, model, config, withUsers(entries), data, unlisted.groups());
  } catch (cause) {
    await model.handle.close();
    throw cause;
  }
}

/** The change of a weight that other tensors replace. */
type ReplacingChange = Extract<TensorChange, { readonly by: unknown }>;

class OnnxCheckpoint implements Checkpoint {
  readonly format = 'onnx';
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    readonly path: string,
    readonly main: string,
    private readonly source: SplicedFile,
    private readonly model: OpenFile,
    readonly config: Readonly<Record<string, unknown>> | undefined,
    private readonly entries: ReadonlyMap<string, TensorEntry>,
    private readonly externals: readonly ExternalTensor[],
    readonly unlisted: readonly UnlistedTensors[],
  ) {
    this.tensors = new Map([...entries].map(([name, { info }]) => [name, info]));
  }

  get graph(): ModelGraph {
    return modelGraph(this.source, {
      weights: [...this.entries.values()].flatMap(({ info, usage }) => (usage?.orientation ? [info] : [])),
      isItsOwn: (name) => this.#isItsOwn(name),
      orientationOfFactored: (left) => (this.#entry(left).constant.ofTurned ? 'out x in' : 'in x out'),
    });
  }

  async read(name: string): Promise<Uint8Array> {
    const { constant, external, info } = this.#entry(name);
    const { data } = constant;
    switch (data.kind) {
      case 'inline':
        return readAt(this.model.handle, this.main, data.offset, info.bytes);
      case 'external':
        return readFrom(external!.file.path, info.offset, info.bytes);
      case 'varints':
        return this.#readVarints(name, data);
      case 'unreadable':
        throw this.#refusal(name, `its data are ${data.why}, which cannot be read`, RESAVE);
    }
  }

  layout(changes: ReadonlyMap<string, TensorChange>): readonly FileLayout[] {
    const types = new Map(
      [...changes].flatMap(([name, change]) => ('as' in change ? [[name, change.as] as const] : [])),
    );
    for (const name of types.keys()) {
      const obstacle = this.#obstacle(name, types);
      if (obstacle !== undefined) throw obstacle;
    }
    const { file: model } = this.source;
    const inPlace = inPlaceLayout(this, types);
    const files = inPlace.some(({ file }) => file === model)
      ? inPlace
      : [{ file: model, parts: undefined, places: new Map<string, ByteRange>() }, ...inPlace];
    const replaced = new Map<TensorEntry, ReplacingChange>();
    for (const [name, change] of changes) if ('by' in change) replaced.set(this.#replaceable(name), change);
    return replaced.size === 0 ? files : this.#respliced(files, replaced);
  }

  close(): Promise<void> {
    return this.model.handle.close();
  }

  /** @param files in which tensors keep their places */
  #respliced(files: readonly FileLayout[], replaced: ReadonlyMap<TensorEntry, ReplacingChange>): readonly FileLayout[] {
    const cuts: Cut[] = [];
    const data = new Map<string, DataLayout>();
    for (const { file, places } of files) {
      if (file === this.source.file) {
        cuts.push(...[...places].map(([name, place]) => this.#edited(name, place)));
        continue;
      }
      const weights = [...replaced].filter(([{ info }]) => info.file === file);
      const [first] = weights;
      if (first === undefined) continue;
      const { location } = first[0].external!.file;
      const inFile = this.externals.filter((tensor) => tensor.file.location === location);
      const own = relaid(file, inFile, new Map(weights.map(([{ external }, { by }]) => [external!, by])), places);
      cuts.push(...offsetCuts(own.offsets));
      data.set(file, own);
    }
    const replacements = [...replaced].map(([{ info, external, constant }, { by, form, times }]) => {
      const places = data.get(info.file)?.layout.places;
      return {
        info,
        by,
        form,
        times: times && { ...times, turned: constant.ofTurned },
        data: external && places && { location: external.file.location, places },
      };
    });
    const spliced = splice(this.source, replacements, cuts);
    return files.map((layout) => (layout.file === spliced.file ? spliced : (data.get(layout.file)?.layout ?? layout)));
  }

  /** Room for the new bytes of a tensor of the model's file, which keep their number. */
  #edited(name: string, { offset, bytes }: ByteRange): Cut {
    const parts = new PartList();
    parts.tensor(name, bytes);
    const places = new Map([[name, { offset: 0, bytes }]]);
    return { start: offset, end: offset + bytes, within: this.#entry(name).within, parts, places };
  }

  #replaceable(name: string): TensorEntry {
    const entry = this.#entry(name);
    const { constant, external } = entry;
    const { data } = constant;
    if (data.kind === 'unreadable') throw this.#refusal(name, `its data are ${data.why}, which cannot be read`, RESAVE);
    if (external !== undefined && HAS_HEADER.test(external.file.location)) {
      const why = `its data lie in ${external.file.location}, whose own header says where tensors are`;
      throw this.#refusal(name, why, SEPARATE);
    }
    return entry;
  }

  #entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry === undefined) throw unknownTensor(this, name);
    return entry;
  }

  async #readVarints(name: string, { span, count, itemBytes }: Extract<Constant['data'], { kind: 'varints' }>) {
    const bytes = await readAt(this.model.handle, this.main, span.begin, span.end - span.begin);
    const numbers = decodeVarints(bytes, count, itemBytes);
    if (numbers !== undefined) return numbers;
    const message = `the data of ${describe(name)} are not the ${count} numbers of its shape`;
    throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidDataLength', this.main, message);
  }

  /** Whether a tensor can be edited without a change of any other. */
  #isItsOwn(name: string): boolean {
    const { info, external } = this.#entry(name);
    if (this.#obstacle(name, new Map()) !== undefined) return false;
    const shares = (other: ExternalTensor) =>
      other !== external && other.file.path === external?.file.path && other.offset === info.offset;
    return external === undefined || !this.externals.some(shares);
  }

  /** An initialiser's bytes can be replaced only if nothing else in the model depends on them. */
  #obstacle(name: string, edited: ReadonlyMap<string, StoredType>): LowRankError | undefined {
    const { constant, usage, info } = this.#entry(name);
    const { data } = constant;
    if (data.kind === 'varints') {
      return this.#refusal(name, `${info.dtype} in a list of varints, whose length depends on the numbers`, RESAVE);
    }
    if (data.kind === 'unreadable') return this.#refusal(name, `its data are ${data.why}`, RESAVE);
    if (usage?.quantizes !== undefined) {
      const message = `it defines how ${usage.quantizes} unpacks a quantised weight, and is not a weight itself`;
      return this.#refusal(name, message, 'Start from an unquantised model.');
    }
    return this.#sharedBytes(name, edited);
  }

  /** Tensors may share bytes of an external file, but only as the same numbers. */
  #sharedBytes(name: string, edited: ReadonlyMap<string, StoredType>): LowRankError | undefined {
    const { info, external } = this.#entry(name);
    if (external === undefined || info.bytes === 0) return undefined;
    for (const other of this.entries.values()) {
      const { info: theirs } = other;
      if (other.external?.file.path !== external.file.path || theirs.name === name || theirs.bytes === 0) continue;
      if (theirs.offset >= info.offset + info.bytes || info.offset >= theirs.offset + theirs.bytes) continue;
      const what = `${info.file} with ${describe(theirs.name)}`;
      const isSame = theirs.offset === info.offset && theirs.bytes === info.bytes && theirs.dtype === info.dtype;
      if (!isSame) return this.#refusal(name, `it shares bytes of ${what}`, UNTIE);
      if (edited.has(theirs.name)) {
        return this.#refusal(name, `it shares all bytes of ${what}, which is edited too`, 'Choose one: both change.');
      }
    }
    return undefined;
  }

  #refusal(name: string, why: string, hint: string): LowRankError {
    return new LowRankError('ERR_UNSUPPORTED', `${name}: ${why}`, { hint });
  }
}

/** Files of other formats that may serve as external data, as long as nothing moves in them. */
const HAS_HEADER = /\.(?:safetensors|gguf)$/i;

const RESAVE = 'Load and save the model with raw data: in Python, numpy_helper.from_array makes such tensors.';
const SEPARATE =
  'Save the model with data of its own: in Python, onnx.save(onnx.load(path), new_path, save_as_external_data=True).';
const UNTIE = 'Export the model again with a separate weight for each use.';

/** States where tensors of external data lie. */
function offsetCuts(offsets: ReadonlyMap<ExternalTensor, number>): Cut[] {
  return [...offsets].flatMap(([tensor, offset]): Cut[] => {
    // Without an entry it lies at the beginning, and stays there.
    if (tensor.entry === undefined || offset === tensor.offset) return [];
    const { start, end } = tensor.entry;
    const parts = new PartList();
    parts.bytes(externalEntry('offset', String(offset)));
    return [{ start, end, within: tensor.within, parts }];
  });
}

async function readFrom(path: string, offset: number, bytes: number): Promise<Uint8Array> {
  // Exporters write up to one file a tensor, more than a process may hold open.
  const { handle } = await openFile(path);
  try {
    return await readAt(handle, path, offset, bytes);
  } finally {
    await handle.close();
  }
}

async function configOf(file: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const folder = dirname(file);
  const beside = join(folder, 'config.json');
  if (basename(folder) !== 'onnx' || (await exists(beside))) return readConfig(beside);
  return readConfig(join(dirname(folder), 'config.json'));
}

/**
 * Adds the users of each tensor if there are several: different ones, or users of another tensor of
 * the same bytes.
 */
function withUsers(entries: ReadonlyMap<string, TensorEntry>): ReadonlyMap<string, TensorEntry> {
  const byBytes = new Map<string, Set<string>>();
  const usersOf = ({ info, external, usage }: TensorEntry): ReadonlySet<string> => {
    if (external === undefined || info.bytes === 0) return usage?.users ?? new Set();
    const place = `${info.offset} ${info.bytes} ${external.file.path}`;
    const users = byBytes.get(place) ?? new Set();
    byBytes.set(place, users);
    for (const user of usage?.users ?? []) users.add(user);
    return users;
  };
  for (const entry of entries.values()) usersOf(entry);
  return new Map(
    [...entries].map(([name, entry]) => {
      const users = usersOf(entry);
      return [name, users.size > 1 ? { ...entry, info: { ...entry.info, users: [...users] } } : entry];
    }),
  );
}

/**
 * Finds the names of weights in the model that was exported: that of the only module that
 * multiplies by the weight, and `weight`. Left out if the initialiser's own name is the same, or if
 * two would get one name.
 */
function aliasesOf(tensors: ReadonlyMap<string, Constant>, usages: Usages): Map<string, string> {
  const owners = new Map<string, string | undefined>();
  for (const [name, constant] of tensors) {
    const module = usages.of(constant)?.module;
    if (module === undefined || constant.dims.length < 2 || endsAlike(name, module)) continue;
    const alias = `${module}.weight`;
    owners.set(alias, owners.has(alias) || tensors.has(alias) ? undefined : name);
  }
  const aliases = new Map<string, string>();
  for (const [alias, name] of owners) if (name !== undefined) aliases.set(name, alias);
  return aliases;
}

/**
 * Whether an initialiser kept its parameter's name: `...q_proj.weight`, used by a module
 * `...q_proj`.
 */
function endsAlike(name: string, module: string): boolean {
  const last = `${module.slice(module.lastIndexOf('.') + 1)}.weight`;
  return name === last || name.endsWith(`.${last}`);
}
