import type { Target } from './target.js';
import { adapter, ggufAdapter } from './targets/adapter.js';
import { nativeAddon } from './targets/addon.js';
import { command } from './targets/command.js';
import { folders, gguf, onnx, safetensors } from './targets/formats.js';

export const TARGETS: readonly Target[] = [
  safetensors,
  gguf,
  onnx,
  folders,
  adapter,
  ggufAdapter,
  command,
  nativeAddon,
];
