import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { modelsIn } from '../../checkpoint/folder.js';
import { GgufFile } from '../../checkpoint/gguf/file.js';
import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { readSmallFile, requirePath } from '../../files/files.js';
import { MAX_CONFIG_BYTES } from '../../files/limits.js';
import { checkOptions, type OptionTypes, text } from '../../options.js';
import { importPeer } from '../engines/peers.js';
import type { Question } from './question.js';

/** A chat template in Jinja, and the special tokens that it may name. */
interface ChatTemplate {
  /** The file, for messages. */
  readonly source: string;
  readonly template: string;
  readonly bos: string;
  readonly eos: string;
}

/** The part of @huggingface/jinja that is used here. */
interface Jinja {
  Template: new (template: string) => { render(context: Record<string, unknown>): string };
}

export interface ChatOptions {
  /**
   * Where to look for \@huggingface/jinja besides this package; the working directory by default.
   */
  readonly peers?: string;
}

const CHAT_OPTIONS: OptionTypes<ChatOptions> = { peers: text };

/**
 * Words the prompts of questions as messages of a user, by the chat template of a model: that of
 * the GGUF file, or `chat_template.jinja` or `tokenizer_config.json` beside the weights or in the
 * folder above. A model's answer starts where the template puts the words of the assistant.
 *
 * @param checkpoint the file or folder of the model
 * @throws {@link LowRankError} `ERR_NOT_FOUND` if the model has no chat template, `ERR_DATASET` for
 *   texts and for what the template refuses, `ERR_PEER` without \@huggingface/jinja.
 */
export async function applyChatTemplate(
  questions: readonly Question[],
  checkpoint: string,
  options?: ChatOptions,
): Promise<Question[]> {
  const { peers } = checkOptions(options, CHAT_OPTIONS, 'applyChatTemplate');
  if (!Array.isArray(questions)) throw new ArgumentError('questions', 'an array of questions', questions);
  requirePath(checkpoint);
  const found = await chatTemplateOf(resolve(checkpoint));
  if (found === undefined) {
    throw new LowRankError('ERR_NOT_FOUND', `${checkpoint}: the model has no chat template`, {
      hint: 'It is in tokenizer_config.json, in chat_template.jinja or in a GGUF file. Base models have none.',
    });
  }
  const { Template } = await importPeer<Jinja>('@huggingface/jinja', peers);
  const render = renderer(found, Template);
  return questions.map((question) => {
    if (question.kind === 'text') {
      throw new LowRankError('ERR_DATASET', `question ${question.id}: a text is no message of a chat`, {
        hint: 'Leave the chat template out to measure the likelihood of texts.',
      });
    }
    return { ...question, prompt: render(question.prompt), chat: true };
  });
}

/** Stands for the words of the assistant, to find out where they start. */
const REPLY = 'lowrank-reply';

function renderer({ template, source, bos, eos }: ChatTemplate, Template: Jinja['Template']) {
  const guard = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new LowRankError('ERR_DATASET', `${source}: its chat template fails: ${(cause as Error).message}`, {
        cause,
      });
    }
  };
  const compiled = guard(() => new Template(template));
  const special = { bos_token: bos, eos_token: eos };
  return (prompt: string) => {
    const user = { role: 'user', content: prompt };
    const asked = guard(() => compiled.render({ ...special, messages: [user], add_generation_prompt: true }));
    // Some templates put a space before a reply that they leave out where a reply is to follow.
    const replied = tryRender(() =>
      compiled.render({ ...special, messages: [user, { role: 'assistant', content: REPLY }] }),
    );
    const before = replied?.slice(0, Math.max(0, replied.indexOf(REPLY)));
    return before?.startsWith(asked) && before.trimEnd() === asked.trimEnd() ? before : asked;
  };
}

function tryRender(render: () => string): string | undefined {
  try {
    return render();
  } catch {
    return undefined;
  }
}

async function chatTemplateOf(path: string): Promise<ChatTemplate | undefined> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
  const inside = isFolder ? await modelsIn(path, 'gguf') : [];
  if (/\.gguf$/i.test(path)) return ofGguf(path);
  const folders = isFolder ? [path] : [dirname(path), dirname(dirname(path))];
  for (const folder of folders) {
    const found = await ofFolder(folder);
    if (found !== undefined) return found;
  }
  return inside.length > 0 ? ofGguf(join(path, inside[0]!)) : undefined;
}

async function ofGguf(path: string): Promise<ChatTemplate | undefined> {
  const file = await GgufFile.open(path);
  try {
    const { metadata } = file.header;
    const template = metadata.text('tokenizer.chat_template');
    if (template === undefined) return undefined;
    const token = (name: string) => {
      const id = metadata.wholeNumber(`tokenizer.ggml.${name}_token_id`);
      return (id === undefined ? undefined : metadata.textAt('tokenizer.ggml.tokens', id)) ?? '';
    };
    return { source: path, template, bos: token('bos'), eos: token('eos') };
  } finally {
    await file.close();
  }
}

async function ofFolder(folder: string): Promise<ChatTemplate | undefined> {
  const configFile = join(folder, 'tokenizer_config.json');
  const config = await readConfig(configFile);
  const own = await readFile(join(folder, 'chat_template.jinja'), 'utf8').catch(() => undefined);
  const template = own ?? defaultTemplate(config?.chat_template);
  if (template === undefined) return undefined;
  const token = (value: unknown) =>
    typeof value === 'string' ? value : ((value as { content?: string })?.content ?? '');
  const source = own === undefined ? configFile : join(folder, 'chat_template.jinja');
  return { source, template, bos: token(config?.bos_token), eos: token(config?.eos_token) };
}

async function readConfig(path: string): Promise<Record<string, unknown> | undefined> {
  if ((await stat(path).catch(() => undefined)) === undefined) return undefined;
  const bytes = await readSmallFile(path, MAX_CONFIG_BYTES);
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  } catch (cause) {
    throw new LowRankError('ERR_DATASET', `${path}: is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

/** Returns the template, or the one named `default` of several. */
function defaultTemplate(value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  const named = Array.isArray(value) ? (value as { name?: unknown; template?: unknown }[]) : [];
  const found = named.find(({ name }) => name === 'default')?.template;
  if (typeof found === 'string') return found;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `the chat template is no text, and none is named default: ${describe(value)}`,
  );
}
