// The three usage examples of the zeta library's `Lora` (docs/zeta/nn/modules/lora.md), line by line, with
// Python's lines above each, and a check of their claims: the output is x times the weight, zeros give
// zeros, alpha is 1 by default. With the class as printed on that page, the first and the third cannot
// run, because alpha is None there; later versions of zeta use 2.

import { strict as assert } from 'node:assert';
import { Lora, LoraLinear, matmul, randn, zeros } from 'lowrank';

// Example 1: basic usage
{
  // lora = Lora(128, 64); x = torch.randn(32, 128); output = lora(x)
  const lora = new Lora({ dim: 128, dimOut: 64 });
  const x = randn([32, 128], { seed: 1 });
  const output = lora.forward(x);
  console.log(lora);
  console.log(output);
  assert.equal(lora.scale, 1 / 8);
  await check(lora, x, output);
}

// Example 2: the rank and the scale factor
{
  // lora = Lora(128, 64, r=16, alpha=0.1); x = torch.randn(32, 128); output = lora(x)
  const lora = new Lora({ dim: 128, dimOut: 64, r: 16, alpha: 0.1 });
  const x = randn([32, 128], { seed: 1 });
  const output = lora.forward(x);
  console.log(lora);
  assert.equal(lora.scale, 0.1 / 16);
  await check(lora, x, output);
}

// Example 3: in a neural network, a Lora and then a linear layer
{
  // class Net(nn.Module): ... self.lora = Lora(128, 64); self.fc = nn.Linear(64, 10)
  class Net {
    lora = new Lora({ dim: 128, dimOut: 64 });
    fc = new LoraLinear({ weight: randn([64, 10], { seed: 2 }).mul(1 / 8), bias: randn([10], { seed: 3 }) });

    // def forward(self, x): x = self.lora(x); x = self.fc(x); return x
    forward(x) {
      return this.fc.forward(this.lora.forward(x));
    }

    // What PyTorch derives by itself.
    backward(gradient) {
      return this.lora.backward(this.fc.backward(gradient));
    }
  }
  // model = Net(); output = model(x); output.shape; output.backward(gradient=output)
  const model = new Net();
  const x = randn([32, 128], { seed: 1 });
  const output = model.forward(x);
  assert.deepEqual(output.shape, [32, 10]);
  const gradX = model.backward(output);
  assert.deepEqual(gradX.shape, x.shape);
  assert.deepEqual(model.lora.A.grad.shape, [128, 8]);
  console.log(`in a network: [${x.shape}] -> [${output.shape}], and back to [${gradX.shape}]`);
}

/** Checks that y is x times the weight, up to the rounding of float32, and that zeros give zeros. */
async function check(lora, x, y) {
  const wanted = await matmul(x, lora.weight);
  assert.deepEqual(y.shape, wanted.shape);
  assert.ok(y.allClose(wanted, { rtol: 1e-4, atol: 1e-5 }));
  const none = lora.forward(zeros(x.shape), { grad: false });
  assert.ok(none.allClose(0, { atol: 0 }));
}
