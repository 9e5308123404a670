// Preloaded by scripts/test/sanitize.mjs: replaces the addon with the build with the sanitizers.
const { dlopen } = process;
const { LOWRANK_SANITIZED: sanitized = '' } = process.env;
process.dlopen = (module, path, ...flags) =>
  dlopen(module, path.endsWith('lowrank.node') ? sanitized : path, ...flags);
