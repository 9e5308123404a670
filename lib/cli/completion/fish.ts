import type { CommandGrammar, Values } from './grammar.js';

/** The completion script for fish: one `complete` a command, option and place. */
export function fishCompletion(grammar: readonly CommandGrammar[]): string {
  const groups = grammar.filter(({ commands }) => commands.length > 0);
  const walk = groups.flatMap(({ path, commands }) =>
    commands
      .filter(({ name }) => grammar.some((command) => command.path === `${path} ${name}`.trim()))
      .map(({ name }) => `      case '${path} ${name}'\n        set path '${`${path} ${name}`.trim()}'`),
  );
  return `# Completion of lowrank for fish, made by: lowrank completion fish
function __lowrank_is
  set -l path ''
  set -l words (commandline -opc)
  for word in $words[2..-1]
    switch "$path $word"
${walk.join('\n')}
    end
  end
  test "$path" = "$argv"
end
function __lowrank_list
  set -l token (string replace -r '^--[^=]*=' '' -- (commandline -ct))
  printf '%s\\n' (string match -r '^.*,' -- $token; or echo '')$argv
end
function __lowrank_at
  # layers:types:amount, of which only the types are known.
  set -l token (string replace -r '^--[^=]*=' '' -- (commandline -ct))
  string match -qr '^[^:]*:[^:]*$' -- $token
  and printf '%s\\n' (string match -r '^.*[:,]' -- $token)$argv
end
complete -c lowrank -f
${grammar.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ path, commands, options, arguments: args }: CommandGrammar): string[] {
  const begin = `complete -c lowrank -n '__lowrank_is ${path === '' ? '""' : path}'`;
  return [
    ...commands.map(({ name, description }) => `${begin} -a ${name} -d ${quote(description)}`),
    ...options.map(({ short, long, description, value }) =>
      [
        begin,
        ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
        `-l ${long.slice(2)}`,
        ...(value === undefined ? [] : [valueFlags(value.values)]),
        `-d ${quote(description)}`,
      ].join(' '),
    ),
    ...args.slice(0, 1).map(({ values }) => `${begin} ${values.kind === 'files' ? '-F' : valueFlags(values)}`),
  ];
}

function valueFlags(values: Values): string {
  if (values.kind === 'files') return '-r -F';
  if (values.kind === 'free') return '-x';
  const words = values.words.join(' ');
  return `-x -a ${quote({ one: words, list: `(__lowrank_list ${words})`, at: `(__lowrank_at ${words})` }[values.kind])}`;
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}
