import { execFile, execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { lowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();

function installed(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
}

/**
 * A line as typed, the last word not finished, and what has to be offered for it: all of it, in any
 * order.
 */
const CASES: readonly (readonly [line: string, offered: readonly string[]])[] = [
  ['lowrank la', ['laser']],
  ['lowrank lora re', ['resize']],
  ['lowrank laser --me', ['--memory', '--method']],
  ['lowrank laser my-model --method g', ['gram']],
  ['lowrank laser --intervention b', ['bottom', 'band']],
  ['lowrank laser x --at 0:all:1 --res', ['--restart']],
  ['lowrank laser --lname fc_', ['fc_in', 'fc_up', 'fc_out']],
  ['lowrank laser --quant F', ['F16', 'F32']],
  ['lowrank lora extract base tuned --dtype b', ['bf16']],
  ['lowrank completion ', ['bash', 'zsh', 'fish']],
  ['lowrank laser my', ['my-model.gguf']],
  ['lowrank laser -o my', ['my-model.gguf']],
  ['lowrank laser --seed ', []],
];
/** The types within an intervention, and lists with commas. */
const PARTS = ['lowrank laser --at 26:fc_', 'lowrank laser --at 26:q_proj,fc_', 'lowrank search x --types q_proj,fc_'];
const FC = ['fc_in', 'fc_up', 'fc_out'];

beforeAll(async () => {
  await mkdir(at('here'));
  await writeFile(at('here', 'my-model.gguf'), '');
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout, stderr } = await lowrank(['completion', shell]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await writeFile(at(`lowrank.${shell}`), stdout);
  }
});

async function run(shell: string, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(shell, args, { cwd: at('here') })).stdout;
}

describe.skipIf(!installed('bash'))('in bash (skipped where there is none)', () => {
  /** Asks the function that the script registers, with the words as bash parts them. */
  async function complete(line: string, breaks = '=:'): Promise<string[]> {
    const words = line.split(' ').flatMap((word) => word.split(new RegExp(`([${breaks}])`)).filter((part) => part));
    if (line.endsWith(' ')) words.push('');
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const program = [
      `source '${at('lowrank.bash')}'`,
      // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own.
      breaks.includes(':') ? '' : 'COMP_WORDBREAKS=${COMP_WORDBREAKS//:}',
      'function=$(complete -p lowrank | sed "s/.*-F //; s/ .*//")',
      `COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}`,
      '"$function"',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: bash's own.
      'printf "%s\\n" "${COMPREPLY[@]}"',
    ];
    return (await run('bash', ['--norc', '-c', program.join('\n')])).split('\n').filter((word) => word !== '');
  }

  it.each(CASES)('%s', async (line, offered) => {
    expect((await complete(line)).sort()).toEqual([...offered].sort());
  });

  it('completes after = and within interventions and lists, however words are parted', async () => {
    expect(await complete('lowrank laser --method=g')).toEqual(['gram']);
    expect((await complete(PARTS[0]!)).sort()).toEqual([...FC].sort());
    expect(await complete(PARTS[0]!, '=')).toEqual(FC.map((type) => `26:${type}`));
    for (const line of PARTS.slice(1)) expect(await complete(line)).toEqual(FC.map((type) => `q_proj,${type}`));
    expect(await complete('lowrank laser --at 26:fc_in:0.')).toEqual([]);
  });

  it('offers each option of the help, of every command', async () => {
    const commands = [...(await lowrank(['--help'])).stdout.matchAll(/^ {2}(\w+) (?:\[|<|.* {2})/gm)].map(
      ([, n]) => n!,
    );
    expect(commands).toEqual(expect.arrayContaining(['laser', 'inspect', 'doctor', 'completion']));
    for (const command of ['laser', 'inspect', 'lora merge']) {
      const { stdout } = await lowrank([...command.split(' '), '--help']);
      const options = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, name]) => name!);
      expect(options).toContain('--json');
      expect((await complete(`lowrank ${command} --`)).sort()).toEqual(options.sort());
    }
  });
});

describe.skipIf(!installed('fish'))('in fish (skipped where there is none)', () => {
  async function complete(line: string): Promise<string[]> {
    const stdout = await run('fish', ['--no-config', '-c', `source '${at('lowrank.fish')}'; complete -C '${line}'`]);
    return stdout
      .split('\n')
      .filter((offer) => offer !== '')
      .map((offer) => offer.split('\t')[0]!);
  }

  it.each(CASES)('%s', async (line, offered) => {
    expect((await complete(line)).sort()).toEqual([...offered].sort());
  });

  it('completes within interventions and lists', async () => {
    for (const line of PARTS) {
      const stem = line.slice(line.lastIndexOf(' ') + 1, -'fc_'.length);
      expect((await complete(line)).sort()).toEqual(FC.map((type) => stem + type).sort());
    }
  });
});

describe.skipIf(!installed('zsh'))('in zsh (skipped where there is none)', () => {
  /**
   * Types each line into an interactive shell of its own, lists what is offered, and clears the
   * line again.
   */
  const DRIVER = `
zmodload zsh/zpty
drain() { offered=; while zpty -rt shell chunk; do offered+=$chunk; done }
zpty shell zsh -f -i
zpty -w shell "PROMPT='>' TERM=dumb; unset zle_bracketed_paste; autoload -U compinit; compinit -u -D; source '$1'"
zpty -w shell "bindkey '^I' list-choices; LISTMAX=0; zstyle ':completion:*' verbose no; stty cols 200 rows 100"
sleep 2; drain; shift
for line in "$@"; do
  zpty -w -n shell "$line"$'\\t'
  # The line is drawn again below the list. The shell may be slow, and there may be no list.
  shown=; for i in {1..30}; do sleep 0.1; drain; shown+=$offered; [[ $shown == *$'\\n>'"$line"* ]] && break; done
  print -r -- "$shown"$'\\x1e'
  zpty -w -n shell $'\\x15'; sleep 0.1; drain
done
zpty -d shell`;

  it('offers the same', async () => {
    const lines = [...CASES.map(([line]) => line), ...PARTS];
    await writeFile(at('driver.zsh'), DRIVER);
    const stdout = await run('zsh', ['-f', at('driver.zsh'), at('lowrank.zsh'), ...lines]);
    const shown = stdout.split('\u001e');
    lines.forEach((line, i) => {
      const expected = CASES[i]?.[1] ?? FC;
      const text = shown[i]!.replaceAll('\r', '');
      const list = text.slice(text.indexOf(line) + line.length, Math.max(text.lastIndexOf('\n>'), 0));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of the terminal.
      const plain = list.replace(/\u001b\[[\d;?]*[a-zA-Z]|\u0007/g, '');
      const offered = plain.split(/\s+/).filter((word) => word !== '');
      expect([line, offered.sort()]).toEqual([line, [...expected].sort()]);
    });
  });
});

describe('the command', () => {
  it('refuses shells that it does not know', async () => {
    const run = await lowrank(['completion', 'tcsh']);
    expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('bash, zsh, fish') });
    expect(run.stderr).toMatch(/\nhint: See: lowrank completion --help\n$/);
  });
});
