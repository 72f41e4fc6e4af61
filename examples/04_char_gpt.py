"""A GPT that learns to spell, in about 60 lines of API.

It reads the Python language reference, which every CPython carries, one character at a time, and
learns to say which comes next. In under a minute it writes words and half-words of that book.

Run it:  python examples/04_char_gpt.py
"""

import argparse
import time

import numpy as np

import scratchgrad as sg
from scratchgrad.data import batch, embedded_text, split
from scratchgrad.evaluate import evaluate_loss
from scratchgrad.generate import Sampling, generate
from scratchgrad.optim import AdamW, clip_grad_norm, cosine_schedule, parameter_groups
from scratchgrad.tokenizer import CharTokenizer

options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
options.add_argument("--steps", type=int, default=400, help="optimiser updates (400)")
options.add_argument("--seed", type=int, default=1, help="of weights, data order and sample (1)")
options = options.parse_args()

# Text to numbers: every distinct character has an id. The last tenth is kept for the examination.
text = embedded_text()
tokenizer = CharTokenizer().train(text)
training, validation = split(tokenizer.encode(text), 0.1)

config = sg.GPTConfig(
    vocab_size=tokenizer.vocab_size,
    block_size=64,  # characters it can look back on
    n_layer=3,
    n_head=4,
    n_embd=96,
    bias=False,
)
model = sg.GPT(config, seed=options.seed)
optimizer = AdamW(parameter_groups(model, weight_decay=0.1), betas=(0.9, 0.99))
print(f"{len(text)} characters, {tokenizer.vocab_size} distinct; {model.num_parameters()} weights")
print(f"knowing nothing costs ln {tokenizer.vocab_size} = {np.log(tokenizer.vocab_size):.2f} nats")

began = time.perf_counter()
for step in range(options.steps):
    inputs, targets = batch(training, options.seed, step, batch_size=16, block_size=64)  # (B, T)
    logits, loss = model(inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm(model.parameters(), 1.0)
    optimizer.step(lr=cosine_schedule(step, 3e-3, 3e-4, 20, options.steps))
    if step % 50 == 0 or step == options.steps - 1:
        print(f"step {step:4}   loss {loss.item():.3f}   {time.perf_counter() - began:4.0f} s")

result = evaluate_loss(model, validation, limit=200)
print(f"validation loss: {result.loss:.3f} nats a character")

rng = np.random.default_rng(options.seed)
prompt = "The "
prompt_ids, sampling = tokenizer.encode(prompt), Sampling(temperature=0.7)
ids = generate(
    model,
    prompt_ids,
    300,
    rng=rng,
    sampling=sampling,
    on_slide=lambda block_size: None,  # from then on it sees the last 64 only, and need not say so
)
print("---- what it writes ----")
print(prompt + tokenizer.decode(list(ids)))
