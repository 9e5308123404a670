// Runs the three usage examples of the zeta library's `Lora` (docs/zeta/nn/modules/lora.md), and checks
// their claims: the output is x times the weight, zeros give zeros, alpha is 1 by default. With the
// class as printed on that page, the first and the third cannot run, because alpha is None there; later
// versions of zeta use 2.

import { strict as assert } from 'node:assert';
import { Lora, LoraLinear, matmul, tensor } from 'lowrank';
import { normal } from './random.mjs';

const x = tensor(normal(32 * 128, 1), [32, 128]); // a batch of 32, and 128 features

// 1: basic usage
{
  const lora = new Lora({ dim: 128, dimOut: 64 });
  const y = lora.forward(x);
  assert.equal(lora.scale, 1 / 8);
  await check(lora, y);
  console.log(`basic usage: [${x.shape}] -> [${y.shape}], scale ${lora.scale}`);
}

// 2: the rank and the scale factor
{
  const lora = new Lora({ dim: 128, dimOut: 64, r: 16, alpha: 0.1 });
  const y = lora.forward(x);
  assert.equal(lora.scale, 0.1 / 16);
  await check(lora, y);
  console.log(`rank 16, alpha 0.1: [${x.shape}] -> [${y.shape}], scale ${lora.scale}`);
}

// 3: in a neural network, a Lora and then a linear layer of 64 -> 10 features
{
  class Net {
    lora = new Lora({ dim: 128, dimOut: 64 });
    fc = new LoraLinear({
      weight: tensor(
        normal(64 * 10, 2).map((value) => value / 8),
        [64, 10],
      ),
      bias: tensor(normal(10, 3), [10]),
    });

    forward(input) {
      return this.fc.forward(this.lora.forward(input));
    }

    backward(gradient) {
      return this.lora.backward(this.fc.backward(gradient));
    }
  }
  const model = new Net();
  const output = model.forward(x);
  assert.deepEqual(output.shape, [32, 10]);
  const gradX = model.backward(output);
  assert.deepEqual(gradX.shape, x.shape);
  assert.deepEqual(model.lora.A.grad.shape, [128, 8]);
  console.log(`in a network: [${x.shape}] -> [${output.shape}], and back to [${gradX.shape}]`);
}

/** Checks that y is x times the weight, up to the rounding of float32, and that zeros give zeros. */
async function check(lora, y) {
  const wanted = await matmul(x, lora.weight);
  assert.deepEqual(y.shape, wanted.shape);
  const difference = Math.hypot(...y.data.map((value, i) => value - wanted.data[i])) / Math.hypot(...wanted.data);
  assert.ok(difference < 1e-6, `relative difference ${difference}`);
  const zeros = tensor(new Float32Array(x.data.length), x.shape);
  assert.ok(lora.forward(zeros, { grad: false }).data.every((value) => value === 0));
}
