"""Train the noisy in-context recall model and write its folder, tokenizer and question sets.

The task follows Chen, Bruna and Bietti, "Distributional Associations vs In-Context Reasoning: A Study of
Feed-forward and Attention Layers" (2024, arXiv:2406.03068). Every sequence is a walk through one fixed random bigram
chain of everyday words. Now and then a trigger appears; the token after it is either the answer of this very
sequence, drawn afresh for each sequence, or, half the time, one noise token that is the same everywhere. Attention has
to look the answer up in the context; the habit "trigger -> noise" can be stored in a feed-forward matrix.

    python train.py                    # reproduces model/, validation.jsonl and test.jsonl
    python train.py --steps 200 --out try
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel

WORDS = """
    ant ape bat bee cat cow dog elk fox gnu hen jay owl pig ram rat
    ash bay elm fir fig ivy oak yew pea nut oat rye bud pod log sap
    bag bed box cap cup fan hat jar key lid map mat net pan pen rug
    air bog dew fog ice mud sea sky sun arm ear eye leg lip toe
""".split()  # noqa: SIM905 (a list literal would be one word a line)
TRIGGER, NOISE = "<trigger>", "<noise>"
VOCABULARY = [*WORDS, TRIGGER, NOISE]
N_WORDS, TRIGGER_ID, NOISE_ID = len(WORDS), len(WORDS), len(WORDS) + 1

# Independent random streams: no two of these share draws, whatever the sizes.
CHAIN_STREAM, TRAIN_STREAM, VALIDATION_STREAM, TEST_STREAM = range(4)


def random_stream(seed, stream):
    return np.random.default_rng([seed, stream])


def random_chain(rng, concentration):
    """Cumulative next-word probabilities, a row per token; the noise token has one too, the trigger's is unused."""
    rows = rng.dirichlet(np.full(N_WORDS, concentration), size=len(VOCABULARY))
    return np.cumsum(rows, axis=1)


def sample_sequences(rng, chain, count, length, trigger_rate, noise_rate):
    """Returns token ids of shape (count, length) and the answer of each sequence."""
    answers = rng.integers(N_WORDS, size=count)
    tokens = np.empty((count, length), dtype=np.int64)
    tokens[:, 0] = rng.integers(N_WORDS, size=count)
    for t in range(1, length):
        before = tokens[:, t - 1]
        walk = (rng.random((count, 1)) > chain[before]).sum(axis=1).clip(max=N_WORDS - 1)
        walk[rng.random(count) < trigger_rate] = TRIGGER_ID
        after_trigger = np.where(rng.random(count) < noise_rate, NOISE_ID, answers)
        tokens[:, t] = np.where(before == TRIGGER_ID, after_trigger, walk)
    return tokens, answers


def question_set(rng, chain, count, length, trigger_rate, noise_rate):
    """Questions that end with the trigger and whose answer has been shown after an earlier trigger."""
    questions = {}
    while len(questions) < count:
        tokens, answers = sample_sequences(rng, chain, count, length, trigger_rate, noise_rate)
        for row, answer in zip(tokens, answers, strict=True):
            triggers = np.flatnonzero(row == TRIGGER_ID)
            if len(triggers) == 0:
                continue
            prompt = row[: triggers[-1] + 1]
            if any(prompt[t + 1] == answer for t in triggers[:-1]):
                questions[" ".join(VOCABULARY[token] for token in prompt)] = VOCABULARY[answer]
    return [{"prompt": prompt, "answer": answer} for prompt, answer in list(questions.items())[:count]]


def write_questions(path, questions):
    path.write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")


def write_tokenizer(folder, length):
    """One token per word. There is no unknown token: a word from outside the vocabulary is an error, not a guess."""
    vocabulary = {word: token for token, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    # Written by hand: this class name loads in every transformers version, and nothing else is needed.
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def build_model(args):
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=args.length,
        n_embd=args.width,
        n_layer=args.layers,
        n_head=args.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,  # GPT-2's own ids would lie outside this vocabulary
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config)


def learning_rate_factor(step, warmup, steps):
    """Linear warm-up, then half a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(model, chain, args):
    rng = random_stream(args.seed, TRAIN_STREAM)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, args.warmup, args.steps)
    )
    start = time.time()
    for step in range(1, args.steps + 1):
        # One token more than the model's length: the inputs and the same tokens shifted by one are the targets.
        tokens, answers = sample_sequences(rng, chain, args.batch, args.length + 1, args.trigger_rate, args.noise_rate)
        inputs, targets = torch.from_numpy(tokens[:, :-1]), torch.from_numpy(tokens[:, 1:])
        logits = model(inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % args.log_every == 0:
            asked = (inputs == TRIGGER_ID) & (torch.arange(args.length) >= args.length // 2)
            guesses = logits[asked].argmax(-1)
            words_only = logits[asked][:, :N_WORDS].argmax(-1)
            right = torch.from_numpy(answers)[:, None].expand_as(inputs)[asked]
            print(
                f"step {step}  loss {loss.item():.4f}  right {(guesses == right).float().mean().item():.3f}"
                f"  noise {(guesses == NOISE_ID).float().mean().item():.3f}"
                f"  right among words {(words_only == right).float().mean().item():.3f}"
                f"  {time.time() - start:.0f} s",
                flush=True,
            )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where everything is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--length", type=int, default=32, help="longest sequence in tokens")
    parser.add_argument("--trigger-rate", type=float, default=0.25)
    parser.add_argument("--noise-rate", type=float, default=0.5)
    parser.add_argument("--concentration", type=float, default=0.1, help="Dirichlet parameter of the bigram rows")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--validation-size", type=int, default=400)
    parser.add_argument("--test-size", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=250)
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    chain = random_chain(random_stream(args.seed, CHAIN_STREAM), args.concentration)

    folder = args.out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, args.length)
    for name, stream, size in [
        ("validation", VALIDATION_STREAM, args.validation_size),
        ("test", TEST_STREAM, args.test_size),
    ]:
        rng = random_stream(args.seed, stream)
        questions = question_set(rng, chain, size, args.length, args.trigger_rate, args.noise_rate)
        write_questions(args.out / f"{name}.jsonl", questions)

    model = build_model(args)
    train(model, chain, args)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)  # says nothing that config.json does not


if __name__ == "__main__":
    main()
