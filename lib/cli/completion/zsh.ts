import type { CommandGrammar, OptionGrammar, Values } from './grammar.js';

/** The completion script for zsh: one function a command, around the shell's own `_arguments`. */
export function zshCompletion(grammar: readonly CommandGrammar[]): string {
  return `#compdef lowrank
# Completion of lowrank for zsh, made by: lowrank completion zsh
_lowrank_at() {
  if compset -P '*:*:'; then
    _message 'the share that stays, from 0 to 1'
  elif compset -P '*:'; then
    _values -s , type "$@"
  else
    _message 'layers: 26, 20-27, 0,2,5-7, last, -4.. or all'
  fi
}
${grammar.map((command) => functionOf(command, grammar)).join('\n')}
if [[ $funcstack[1] == _lowrank ]]; then
  _lowrank "$@"
else
  compdef _lowrank lowrank
fi
`;
}

function functionOf(command: CommandGrammar, grammar: readonly CommandGrammar[]): string {
  const options = command.options.flatMap(optionSpecs);
  const lines = (specs: readonly string[]) => specs.map((spec) => `    ${spec}`).join(' \\\n');
  if (command.commands.length === 0) {
    const places = command.arguments.map(({ name, values, variadic }, i) =>
      quote(`${variadic ? '*' : i + 1}:${name}:${action(values)}`),
    );
    return `${nameOf(command.path)}() {
  _arguments \\
${lines([...options, ...places])}
}`;
  }
  const names = command.commands.map(({ name, description }) => `${name}\\:"${escapeText(description)}"`);
  const below = command.commands
    .map(({ name }) => ({ name, path: `${command.path} ${name}`.trim() }))
    .filter(({ path }) => grammar.some((other) => other.path === path))
    .map(({ name, path }) => `    ${name}) ${nameOf(path)} ;;`);
  return `${nameOf(command.path)}() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C \\
${lines([...options, quote(`1:command:((${names.join(' ')}))`), `'*::argument:->below'`])}
  [[ $state == below ]] || return
  case $line[1] in
${below.join('\n')}
  esac
}`;
}

/** One for each of its names; a long name also takes its value after =. */
function optionSpecs({ short, long, description, repeatable, value }: OptionGrammar): string[] {
  const exclusive = repeatable ? '*' : `(${[short, long].filter((name) => name !== undefined).join(' ')})`;
  const text = `[${escapeText(description)}]`;
  const argument = value === undefined ? '' : `:${value.name.replaceAll(':', '\\:')}:${action(value.values)}`;
  const specs = [quote(`${exclusive}${long}${value === undefined ? '' : '='}${text}${argument}`)];
  if (short !== undefined) specs.unshift(quote(`${exclusive}${short}${text}${argument}`));
  return specs;
}

function action(values: Values): string {
  if (values.kind === 'files') return '_files';
  if (values.kind === 'free') return ' ';
  const words = values.words.join(' ');
  // An action that begins with a space is called as it stands.
  return { one: `(${words})`, list: ` _values -s , value ${words}`, at: ` _lowrank_at ${words}` }[values.kind];
}

function nameOf(path: string): string {
  return ['_lowrank', ...path.split(' ')].filter((part) => part !== '').join('_');
}

function escapeText(text: string): string {
  return text.replace(/[[\]:"`$\\]/g, '\\$&');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
