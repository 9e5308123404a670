import type { FormatDescription } from '../format.js';
import { beginsWithLength } from '../safetensors/sniff.js';
import { openOnnx } from './checkpoint.js';
import { ONNX_ENDING, onnxModels } from './find.js';
import { mayBeOnnx } from './sniff.js';

export const ONNX: FormatDescription = {
  name: 'onnx',
  label: 'ONNX',
  ending: ONNX_ENDING,
  hasModuleNames: false,
  hasAdapters: false,
  // A protobuf message has no mark; it is recognised by what it is not.
  sniff: (start) => (!beginsWithLength(start) && mayBeOnnx(start) ? 'onnx' : undefined),
  models: onnxModels,
  open: openOnnx,
};
