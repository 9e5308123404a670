// Preloaded by scripts/test/sanitize.mjs: replaces the addon with the build with the sanitizers.
const { dlopen } = process;
process.dlopen = (module, path, ...flags) =>
  dlopen(module, path.endsWith('lowrank.node') ? process.env.LOWRANK_SANITIZED : path, ...flags);
