import { basename, dirname, join, relative, sep } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../../errors.js';
import type { StoredType } from '../../tensor/dtype.js';
import type { Checkpoint, FileLayout, TensorInfo } from '../checkpoint.js';
import { readConfig } from '../config.js';
import { exists, type OpenFile, openFile, readAt } from '../files.js';
import { inPlaceLayout } from '../layout.js';
import { type DataFile, ExternalFiles } from './external-data.js';
import { findGraph, readInitializers, visitNodes } from './graph.js';
import { ProtobufFile } from './protobuf.js';
import { decodeVarints, type Initializer } from './tensor-proto.js';
import { type Usage, Usages } from './usage.js';

/** An initialiser with its file, and what the graph does with it. */
interface Constant {
  readonly info: TensorInfo;
  readonly initializer: Initializer;
  /** Undefined for data in the model's file. */
  readonly external: DataFile | undefined;
  readonly usage: Usage | undefined;
}

/**
 * Opens an ONNX model: its graph's initialisers, wherever their data are. Initialisers of graphs inside nodes, sparse ones,
 * the values of `Constant` nodes and functions are not listed; they are copied with the file as they are.
 *
 * A model with external data is a folder: what is opened is then the one that it lies in. `config.json` is read from
 * the model's folder, or, where that is called `onnx`, from the one around it: so optimum and transformers.js lay them out.
 *
 * @param path what the user opened, absolute: the file, or a folder that holds it
 * @param file the model
 * @throws {@link CheckpointError} kinds `NotOnnx`, `InvalidProtobuf`, `Truncated`, `InvalidTensor`, `InvalidShape`,
 * `InvalidDataLength`, `UnknownElementType`, `DuplicateTensor`, `InvalidName`, `NameTooLong`, `InvalidExternalData`,
 * `UnsafeFileName`, `MissingShard`, and those of the limits (`TooMany...`, `GraphTooDeep`); `ERR_CHECKPOINT_IO`.
 */
export async function openOnnx(path: string, file: string): Promise<Checkpoint> {
  const model = await openFile(file);
  try {
    const proto = new ProtobufFile(model.handle, file, model.size);
    const graph = await findGraph(proto);
    const initializers = await readInitializers(proto, graph);
    const usages = new Usages(initializers);
    const nodesHaveExternal = await visitNodes(proto, graph, (node) => usages.visit(node));

    const externalFiles = new ExternalFiles(file);
    const hasExternal = nodesHaveExternal || [...initializers.values()].some(({ data }) => data.kind === 'external');
    const root = path !== file ? path : hasExternal ? dirname(file) : file;
    const prefix = root === file ? '' : relative(root, dirname(file)).split(sep).filter(Boolean);
    const named = (name: string) => [...prefix, name].join('/');
    const aliases = aliasesOf(initializers, usages);
    const constants = new Map<string, Constant>();
    for (const [name, initializer] of initializers) {
      const { data, dims, bytes, type } = initializer;
      const place = data.kind === 'external' ? await externalFiles.place(name, data.entries, bytes) : undefined;
      const usage = usages.of(name);
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
      constants.set(name, { info, initializer, external: place?.file, usage });
    }
    return new OnnxCheckpoint(root, file, named(basename(file)), model, await configOf(file), constants);
  } catch (cause) {
    await model.handle.close();
    throw cause;
  }
}

class OnnxCheckpoint implements Checkpoint {
  readonly format = 'onnx';
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    readonly path: string,
    readonly main: string,
    /** The model's file, relative to `path`. */
    private readonly fileName: string,
    private readonly model: OpenFile,
    readonly config: Readonly<Record<string, unknown>> | undefined,
    private readonly constants: ReadonlyMap<string, Constant>,
  ) {
    this.tensors = new Map([...constants].map(([name, { info }]) => [name, info]));
  }

  async read(name: string): Promise<Uint8Array> {
    const { initializer, external, info } = this.#constant(name);
    const { data } = initializer;
    switch (data.kind) {
      case 'inline':
        return readAt(this.model.handle, this.main, data.offset, info.bytes);
      case 'external':
        return readFrom(external!.path, info.offset, info.bytes);
      case 'varints':
        return this.#readVarints(name, data);
      case 'unreadable':
        throw this.#refusal(name, `its data are ${data.why}, which are not read here`, RESAVE);
    }
  }

  layout(edited: ReadonlyMap<string, StoredType>): readonly FileLayout[] {
    for (const name of edited.keys()) this.#checkEditable(name, edited);
    const files = inPlaceLayout(this, edited);
    if (files.some(({ file }) => file === this.fileName)) return files;
    return [{ file: this.fileName, parts: undefined, places: new Map() }, ...files];
  }

  close(): Promise<void> {
    return this.model.handle.close();
  }

  #constant(name: string): Constant {
    const constant = this.constants.get(name);
    if (constant !== undefined) return constant;
    throw new LowRankError('ERR_NOT_FOUND', `${this.path}: no tensor is called ${describe(name)}`, {
      hint: `It has ${this.tensors.size} tensors; \`lowrank inspect\` lists them.`,
    });
  }

  async #readVarints(name: string, { span, count, itemBytes }: Extract<Initializer['data'], { kind: 'varints' }>) {
    const bytes = await readAt(this.model.handle, this.main, span.begin, span.end - span.begin);
    const numbers = decodeVarints(bytes, count, itemBytes);
    if (numbers !== undefined) return numbers;
    const message = `the data of ${describe(name)} are not the ${count} numbers that its shape takes`;
    throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidDataLength', this.main, message);
  }

  /** An initialiser's bytes can be exchanged only where nothing else in the model depends on them. */
  #checkEditable(name: string, edited: ReadonlyMap<string, StoredType>): void {
    const { initializer, usage, info } = this.#constant(name);
    const { data } = initializer;
    if (data.kind === 'varints') {
      throw this.#refusal(name, `${info.dtype} in a list of varints, whose length depends on the numbers`, RESAVE);
    }
    if (data.kind === 'unreadable') throw this.#refusal(name, `its data are ${data.why}`, RESAVE);
    if (usage?.quantizes !== undefined) {
      const message = `it says how ${usage.quantizes} unpacks a quantised weight, and is none itself`;
      throw this.#refusal(name, message, 'Start from a model that is not quantised.');
    }
    if (usage !== undefined && usage.places > 1) this.#refuseShared(name, usage.users, usage.places);
    this.#checkSharedBytes(name, edited);
  }

  /** Tensors may lie on the same bytes of an external file. */
  #checkSharedBytes(name: string, edited: ReadonlyMap<string, StoredType>): void {
    const { info, external, usage } = this.#constant(name);
    if (external === undefined || info.bytes === 0) return;
    const users = new Set(usage?.users);
    for (const other of this.constants.values()) {
      const { info: theirs } = other;
      if (other.external?.path !== external.path || theirs.name === name || theirs.bytes === 0) continue;
      if (theirs.offset >= info.offset + info.bytes || info.offset >= theirs.offset + theirs.bytes) continue;
      const same = theirs.file === info.file && theirs.offset === info.offset && theirs.bytes === info.bytes;
      if (!same || theirs.dtype !== info.dtype || edited.has(theirs.name)) {
        throw this.#refusal(name, `it shares bytes of ${info.file} with ${describe(theirs.name)}`, UNTIE);
      }
      for (const user of other.usage?.users ?? []) users.add(user);
      if (users.size > 1) this.#refuseShared(name, [...users], users.size);
    }
  }

  #refuseShared(name: string, users: readonly string[], places: number): never {
    const listed = users.slice(0, 4).map(describe).join(', ');
    const message = `${places} places use it, and an edit would change all of them: ${listed}${places > 4 ? ', ...' : ''}`;
    throw this.#refusal(name, message, UNTIE);
  }

  #refusal(name: string, why: string, hint: string): LowRankError {
    return new LowRankError('ERR_UNSUPPORTED', `${name}: ${why}`, { hint });
  }
}

const RESAVE = 'Load and save the model with raw data: in Python, numpy_helper.from_array makes such tensors.';
const UNTIE = 'Export the model again with a weight of its own for each use.';

async function readFrom(path: string, offset: number, bytes: number): Promise<Uint8Array> {
  // Exporters write up to a file a tensor, more than a process may hold open.
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
 * The names that weights have in the model that was exported: that of the only module which multiplies by the weight, and
 * `weight`. Left out where the initialiser's own name says the same, or where two would get one name.
 */
function aliasesOf(initializers: ReadonlyMap<string, Initializer>, usages: Usages): Map<string, string> {
  const owners = new Map<string, string | undefined>();
  for (const [name, { dims }] of initializers) {
    const module = usages.of(name)?.module;
    if (module === undefined || dims.length < 2 || endsAlike(name, module)) continue;
    const alias = `${module}.weight`;
    owners.set(alias, owners.has(alias) || initializers.has(alias) ? undefined : name);
  }
  const aliases = new Map<string, string>();
  for (const [alias, name] of owners) if (name !== undefined) aliases.set(name, alias);
  return aliases;
}

/** Whether an initialiser kept its parameter's name: `...q_proj.weight`, used by a module `...q_proj`. */
function endsAlike(name: string, module: string): boolean {
  const last = `${module.slice(module.lastIndexOf('.') + 1)}.weight`;
  return name === last || name.endsWith(`.${last}`);
}
