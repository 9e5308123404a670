// Preloaded by scripts/test/sanitize.mjs: whoever loads the addon gets the build with the sanitizers.
const { dlopen } = process;
process.dlopen = (module, path, ...flags) =>
  dlopen(module, path.endsWith('lowrank.node') ? process.env.LOWRANK_SANITIZED : path, ...flags);
