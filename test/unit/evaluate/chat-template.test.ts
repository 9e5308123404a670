import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GgufFile } from '../../../lib/checkpoint/gguf/file.js';
import { writeGguf } from '../../../lib/checkpoint/gguf/write.js';
import { applyChatTemplate } from '../../../lib/evaluate/questions/chat-template.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { temporaryPaths } from '../../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../../support/peers.js';

const at = temporaryPaths();
const asked: Question = { id: 3, kind: 'choice', prompt: 'Is it?', choices: ['No', 'Yes'], label: 1, answer: 'Yes' };

const CHATML = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;
const INSTRUCT = `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}`;

/** A folder with a tokenizer that has this template. */
async function folder(name: string, config: object, jinja?: string): Promise<string> {
  await mkdir(at(name, 'onnx'), { recursive: true });
  await writeFile(at(name, 'tokenizer_config.json'), JSON.stringify(config));
  if (jinja !== undefined) await writeFile(at(name, 'chat_template.jinja'), jinja);
  return at(name);
}

describe('strings in the metadata of GGUF', () => {
  it('are found in an array by their number', async () => {
    const model = fileURLToPath(new URL('../../../examples/noisy-recall/gguf/model.gguf', import.meta.url));
    const file = await GgufFile.open(model);
    const { metadata } = file.header;
    await file.close();
    const entry = metadata.entries.get('tokenizer.ggml.tokens');
    const count = entry?.type === 'array' ? entry.length : 0;
    const tokens = Array.from({ length: count }, (_, i) => metadata.textAt('tokenizer.ggml.tokens', i));
    expect(new Set(tokens).size).toBe(count);
    expect(tokens).toContain('▁ant');
    expect(metadata.textAt('tokenizer.ggml.tokens', count)).toBeUndefined();
    expect(metadata.textAt('general.architecture', 0)).toBeUndefined();
  });
});

describe.skipIf(!hasPeers)(`chat templates${unlessNoPeers}`, () => {
  const apply = async (checkpoint: string, questions: readonly Question[] = [asked]) =>
    (await applyChatTemplate(questions, checkpoint, { peers })).map((question) => question.prompt);

  it('of a GGUF file word a prompt as a message of the user', async () => {
    await mkdir(at('gguf'));
    await writeGguf(at('gguf', 'model.gguf'), new Map([['tokenizer.chat_template', CHATML]]), new Map());
    const prompt = '<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n';
    expect(await apply(at('gguf', 'model.gguf'))).toEqual([prompt]);
    const [question] = await applyChatTemplate([asked], at('gguf'), { peers });
    expect(question).toEqual({ ...asked, prompt, chat: true });
  });

  it('of a tokenizer are found in the folder or above, with the tokens that they name', async () => {
    const path = await folder('instruct', {
      chat_template: INSTRUCT,
      bos_token: '<s>',
      eos_token: { content: '</s>' },
    });
    // The space before a reply belongs to the prompt.
    const prompt = '<s>[INST] Is it? [/INST] ';
    expect(await apply(path)).toEqual([prompt]);
    expect(await apply(join(path, 'onnx', 'model.onnx'))).toEqual([prompt]);
    const named = [
      { name: 'tool_use', template: 'x' },
      { name: 'default', template: 'Q {{ messages[0].content }}' },
    ];
    expect(await apply(await folder('named', { chat_template: named }))).toEqual(['Q Is it?']);
    expect(await apply(await folder('own', { chat_template: 'x' }, 'own {{ messages[0].content }}'))).toEqual([
      'own Is it?',
    ]);
  });

  it('are refused if there is none, if they fail, and for texts', async () => {
    await expect(apply(await folder('base', {}))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    const picky = await folder('picky', { chat_template: "{{ raise_exception('no system') }}" });
    await expect(apply(picky)).rejects.toThrow(/tokenizer_config\.json: its chat template fails: no system/);
    const path = await folder('chatml', { chat_template: CHATML });
    await expect(apply(path, [{ id: 0, kind: 'text', prompt: 'a' }])).rejects.toMatchObject({ code: 'ERR_DATASET' });
    await expect(apply(await folder('odd', { chat_template: 1 }))).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});
