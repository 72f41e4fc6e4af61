"""The other decoder: a small Llama, trained, sampled from, and read back as transformers would.

GPT-2 and Llama differ in a handful of choices; GPTConfig names them. The model learns the Python
language reference by byte pairs, writes some of it by three rules of choosing, goes into a folder
in Hugging Face's layout, and comes back with the same logits.

Run it:  python examples/08_llama_by_another_name.py
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import scratchgrad as sg
from scratchgrad.data import batch, embedded_text
from scratchgrad.interop import Pretrained, read_pretrained, write_folder
from scratchgrad.optim import AdamW, clip_grad_norm, cosine_schedule, parameter_groups
from scratchgrad.tokenizer import BPETokenizer

options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
options.add_argument("--steps", type=int, default=200, help="optimiser updates (200)")
options = options.parse_args()

text = embedded_text()
tokenizer = BPETokenizer().train(text, 512)
ids = tokenizer.encode(text)

sizes = {"vocab_size": tokenizer.vocab_size, "block_size": 64, "n_layer": 3, "n_head": 6}
gpt2 = sg.GPTConfig(**sizes, n_embd=96)
llama = sg.GPTConfig(
    **sizes,
    n_embd=96,
    norm="rmsnorm",  # no mean is taken off, no bias is added
    mlp="swiglu",  # a gate multiplies the other half
    position="rope",  # queries and keys are turned, nothing is added
    n_kv_head=2,  # three heads of queries share one of keys
    bias=False,
)
print("numbers by part      like GPT-2   like Llama")
for part, n in gpt2.parameters().items():
    print(f"  {part:17} {n:12,} {llama.parameters()[part]:12,}")
cache = [c.memory()["kv_cache"] // 1024 for c in (gpt2, llama)]
print(f"  {'cache, KiB':17} {cache[0]:12,} {cache[1]:12,}")

model = sg.GPT(llama, seed=1)
optimizer = AdamW(parameter_groups(model, weight_decay=0.1), betas=(0.9, 0.99))
for step in range(options.steps):
    inputs, targets = batch(ids, 1, step, batch_size=16, block_size=64)
    loss = model.loss(inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm(model.parameters(), 1.0)
    optimizer.step(lr=cosine_schedule(step, 3e-3, 3e-4, 20, options.steps))
    if step % 50 == 0 or step == options.steps - 1:
        print(f"step {step:4}   loss {loss.item():.3f}")

prompt = tokenizer.encode("The ")
rules = {
    "greedy": {"greedy": True},
    "top-p 0.9": {"top_p": 0.9},
    "greedy, what was said costs": {"greedy": True, "repetition_penalty": 1.3},
}
for name, rule in rules.items():
    written = tokenizer.decode(model.generate(prompt, 40, seed=1, **rule))
    print(f"---- {name} ----\n{written}")

with tempfile.TemporaryDirectory() as folder:
    place = Path(folder) / "llama"
    write_folder(Pretrained(model, tokenizer), "llama", place)
    print("---- in the folder ----")
    print(*sorted(file.name for file in place.iterdir()))
    again = read_pretrained(place)
    with sg.no_grad():
        before, after = (m(inputs)[0].numpy() for m in (model.eval(), again.model.eval()))
    assert np.array_equal(before, after), "the weights came back changed"
    assert again.tokenizer.encode(text[:1000]).tolist() == tokenizer.encode(text[:1000]).tolist()
print("read back: the same logits, the same ids")
