import { mkdir, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { applyChatTemplate } from '../../lib/entries/evaluate.js';
import { temporaryPaths } from '../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { python, runPython, unlessNoPython } from './python.js';

const at = temporaryPaths();

/** Templates in the manners of known families, with what makes Jinja differ from other engines. */
const TEMPLATES = {
  chatml: `{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are helpful<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}`,
  instruct: `{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + message['content'] | trim + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}`,
  blocks: `{{ bos_token }}
{% set ns = namespace(turns=0) %}
  {% for message in messages %}
    {% set ns.turns = ns.turns + 1 %}
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{{ message.content | trim }}<end_of_turn>
  {% endfor %}
{% if add_generation_prompt %}
<start_of_turn>model {{ ns.turns }}
{% endif %}`,
};

describe.skipIf(!python || !hasPeers)(`chat templates${unlessNoPython}${unlessNoPeers}`, () => {
  it('give the prompts of transformers, to the character', async () => {
    const prompts = ['Is 2 even?', '  spaces\n\nand lines ', 'quotes " \' {{ x }} {% if %}', 'é 漢 <|im_end|>'];
    const special = { bos_token: '<s>', eos_token: '</s>' };
    const ours: string[] = [];
    const asked: object[] = [];
    for (const [name, template] of Object.entries(TEMPLATES)) {
      await mkdir(at(name));
      await writeFile(at(name, 'tokenizer_config.json'), JSON.stringify({ ...special, chat_template: template }));
      const questions = prompts.map((prompt, id) => ({ id, kind: 'answer' as const, prompt, answer: 'x' }));
      ours.push(...(await applyChatTemplate(questions, at(name), { peers })).map(({ prompt }) => prompt));
      asked.push(...prompts.map((content) => ({ ...special, template, messages: [{ role: 'user', content }] })));
    }
    await writeFile(at('asked.json'), JSON.stringify(asked));
    expect(ours).toEqual(JSON.parse(await runPython('chat_template.py', at('asked.json'))));
  });
});
