import type { CommandGrammar, Values } from './grammar.js';

/** The completion script for bash, of version 3.2 (macOS) too. */
export function bashCompletion(grammar: readonly CommandGrammar[]): string {
  const walk = grammar.flatMap(({ path, commands }) =>
    commands
      .filter(({ name }) => grammar.some((command) => command.path === `${path} ${name}`.trim()))
      .map(({ name }) => `      '${path} ${name}') command='${`${path} ${name}`.trim()}' ;;`),
  );
  const values = grammar.flatMap(({ path, options }) =>
    options.flatMap(({ short, long, value }) =>
      value === undefined
        ? []
        : [
            `    ${[long, short].flatMap((flag) => (flag ? [`'${path} ${flag}'`] : [])).join('|')}) ${complete(value.values)}; return ;;`,
          ],
    ),
  );
  const options = grammar.map(
    (command) =>
      `      '${command.path}') __lowrank_words '${command.options.flatMap(({ short, long }) => (short ? [short, long] : [long])).join(' ')}' ;;`,
  );
  const places = grammar.map(({ path, commands, arguments: args }) => {
    const names: Values = { kind: 'one', words: commands.map(({ name }) => name) };
    return `    '${path}') ${complete(commands.length > 0 ? names : (args[0]?.values ?? { kind: 'free' }))} ;;`;
  });
  return `# Completion of lowrank for bash, made by: lowrank completion bash
__lowrank_words() {
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$1" -- "$piece"))
}
__lowrank_list() {
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -P "\${piece%"\${piece##*,}"}" -W "$1" -- "\${piece##*,}"))
}
__lowrank_at() {
  # layers:types:amount, of which only the types are known. Where bash does not part words at colons, they stay in front.
  case $token in *:*:*) return ;; *:*) ;; *) return ;; esac
  local IFS=$' \\t\\n' last=\${piece##*:}
  COMPREPLY=($(compgen -P "\${piece%"\${last##*,}"}" -W "$1" -- "\${last##*,}"))
}
__lowrank_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$piece"))
}
_lowrank() {
  local command= option i=$COMP_CWORD j piece=\${COMP_WORDS[COMP_CWORD]} token=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  # Bash parts words at = and colons: put the present one together again.
  while ((i > 1)); do
    case \${COMP_WORDS[i]} in
      : | =) ;;
      *) case \${COMP_WORDS[i - 1]} in : | =) ;; *) break ;; esac ;;
    esac
    i=$((i - 1))
    token=\${COMP_WORDS[i]}$token
  done
  case $piece in : | =) piece= ;; esac
  option=\${COMP_WORDS[i - 1]}
  case $token in --*=*) option=\${token%%=*} token=\${token#*=} ;; esac

  for ((j = 1; j < i; j++)); do
    case "$command \${COMP_WORDS[j]}" in
${walk.join('\n')}
    esac
  done
  case "$command $option" in
${values.join('\n')}
  esac
  case $token in
    -*) case $command in
${options.join('\n')}
    esac
    return ;;
  esac
  case $command in
${places.join('\n')}
  esac
}
complete -F _lowrank lowrank
`;
}

function complete(values: Values): string {
  if (values.kind === 'files') return '__lowrank_files';
  if (values.kind === 'free') return ':';
  const name = { one: 'words', list: 'list', at: 'at' }[values.kind];
  return `__lowrank_${name} '${values.words.join(' ')}'`;
}
