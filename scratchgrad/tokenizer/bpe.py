"""Byte-pair encoding on bytes: any text becomes ids, and the ids become the same bytes again.

Training learns which neighbours to merge (`train`), encoding merges them (`encode`), decoding puts
the bytes of the tokens together. docs/bpe.md derives it by hand; what happens to the bytes
is in `scratchgrad.kernels.bpe`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.data import smallest_dtype
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DtypeError
from scratchgrad.tokenizer.chat import conversation
from scratchgrad.tokenizer.checks import check_several, check_text
from scratchgrad.tokenizer.corpus import Source
from scratchgrad.tokenizer.decoding import Decoder, TokenStream
from scratchgrad.tokenizer.encoding import TextEncoder
from scratchgrad.tokenizer.formats import gpt2, huggingface, llama2c, own, tiktoken
from scratchgrad.tokenizer.id_file import encode_files
from scratchgrad.tokenizer.patterns import Pattern
from scratchgrad.tokenizer.special import Names, SpecialTokens, with_special_tokens
from scratchgrad.tokenizer.training import Progress, learn_vocabulary
from scratchgrad.tokenizer.vocabulary import Vocabulary

PathLike: TypeAlias = str | os.PathLike[str]


class BPETokenizer:
    r"""A byte-level byte-pair tokenizer.

    Parameters
    ----------
    vocabulary : Vocabulary, optional
        What it knows; left out, the 256 bytes, to be trained.
    pattern : str
        How a text is cut into pieces, across which nothing is merged: "gpt2", "cl100k", "o200k",
        "none", or a regular expression of the package `regex`.
    special_tokens : iterable of str
        Special tokens to add after all other ids, in this order.

    Attributes
    ----------
    vocabulary : Vocabulary
    pattern : Pattern

    Raises
    ------
    ConfigError
        The pattern does not compile, or a special token is empty, a single character or
        there already.

    >>> tokenizer = BPETokenizer(pattern="none").train("aaabdaaabac", vocab_size=259)
    >>> tokenizer.encode("aaab aab")
    array([258,  32, 256,  98], dtype=uint16)
    >>> tokenizer.decode([258, 32, 256, 98])
    'aaab aab'
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None = None,
        pattern: str = "gpt2",
        special_tokens: Iterable[str] = (),
    ) -> None:
        self.pattern = Pattern(pattern)
        if vocabulary is None:
            vocabulary = Vocabulary.of_bytes()
        if not isinstance(vocabulary, Vocabulary):
            raise DtypeError(
                f"vocabulary: expected a Vocabulary or None; got {shorten(vocabulary)}; name the "
                f"others, as in BPETokenizer(pattern='gpt2')"
            )
        self._set(vocabulary)
        self.add_special_tokens(special_tokens)

    def _set(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._special = SpecialTokens(vocabulary.special_tokens)
        self._dtype = smallest_dtype(vocabulary.size)
        self._decoder = Decoder(vocabulary)
        self._made: TextEncoder | None = None

    @property
    def _encoder(self) -> TextEncoder:
        if self._made is None:  # its tables take a moment, and not everybody encodes
            self._made = TextEncoder(self.vocabulary, self.pattern, self._special)
        return self._made

    @property
    def vocab_size(self) -> int:
        """One more than the highest id: the rows that an embedding needs."""
        return self.vocabulary.size

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return dict(self.vocabulary.special_tokens)

    def __repr__(self) -> str:
        special = len(self.vocabulary.special_tokens)
        return (
            f"BPETokenizer({self.vocab_size} ids, {len(self.vocabulary.merges)} merges, "
            f"{special} special, {self.pattern.name or 'own'} pattern)"
        )

    def add_special_tokens(self, names: Iterable[str]) -> BPETokenizer:
        """Give special tokens the ids after the last one, in this order; returns itself.

        A special token may be spelled as an ordinary one, "the" say: their ids are two. Of
        one character it may not be, since by default `encode` refuses every text that has it.

        Raises
        ------
        ConfigError
            One is empty, a single character, or there already.
        """
        names = [names] if isinstance(names, str) else names
        if names := check_several(names, "special_tokens", "names"):
            self._set(with_special_tokens(self.vocabulary, names))
        return self

    # -- training ------------------------------------------------------------------------------

    def train(
        self,
        source: Source,
        vocab_size: int,
        *,
        min_frequency: int = 1,
        tie_break: str = "smallest",
        progress: Progress | None = None,
    ) -> BPETokenizer:
        """Learn merges from a text, and forget those known before. Special tokens stay.

        Ids are the 256 bytes, the merges in order, the special tokens.

        Parameters
        ----------
        source : str, bytes, pathlib.Path, or an iterable of these
            A text, a file, a folder of files, or several. Read once, a block at a time. Nothing is
            learned across two of them.
        vocab_size : int
            All ids, the special ones too.
        min_frequency : int
            A pair that occurs less often is not merged.
        tie_break : str
            Of pairs that occur equally often, "smallest" takes the one with the smallest ids (left,
            then right), "greatest" the one with the lexicographically greatest bytes.
        progress : callable, optional
            Called as progress("counting", bytes, bytes in all or None), then as
            progress("merging", merges, merges wanted).

        Returns
        -------
        BPETokenizer
            Itself.

        Raises
        ------
        ConfigError
            A setting out of range, such as a size below the bytes and the special tokens.
        DataError
            The source is empty or cannot be read.

        Warns
        -----
        UserWarning
            The text has fewer merges than were asked for; the vocabulary is smaller then.
        """
        learned = learn_vocabulary(
            source,
            self.pattern,
            list(self.vocabulary.special_tokens),
            vocab_size,
            min_frequency=min_frequency,
            tie_break=tie_break,
            progress=progress,
        )
        self._set(learned)
        return self

    # -- encoding ------------------------------------------------------------------------------

    def encode(
        self,
        text: str | bytes,
        *,
        allowed_special: Names = (),
        disallowed_special: Names = "all",
    ) -> NDArray[Any]:
        r"""Turn text into ids.

        Parameters
        ----------
        text : str or bytes
            Bytes need not be UTF-8.
        allowed_special : set of str, or "all"
            Special tokens that become their id where the text has them.
        disallowed_special : set of str, or "all"
            Special tokens that the text must not have; "all" is all but the allowed ones. Those
            that are neither are ordinary text.

        Returns
        -------
        array, shape (N,)
            In the smallest unsigned dtype that holds the vocabulary.

        Raises
        ------
        DataError
            The text has a disallowed special token; the message says which and where.
        DtypeError
            It is neither str nor bytes.

        >>> tokenizer = BPETokenizer(special_tokens=["<|endoftext|>"])
        >>> tokenizer.encode("a<|endoftext|>", allowed_special="all")
        array([ 97, 256], dtype=uint16)
        """
        text = check_text(text, "BPETokenizer.encode")
        self._special.check(text, allowed_special, disallowed_special)
        return self._joined(self._encoder.parts(text, allowed_special))

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        allowed_special: Names = (),
        disallowed_special: Names = "all",
    ) -> list[NDArray[Any]]:
        """Encode many texts at once, on all threads; the same ids as `encode` gives for each."""
        texts = check_several(texts, "encode_batch", "texts")
        texts = [check_text(text, "BPETokenizer.encode_batch") for text in texts]
        for place, text in enumerate(texts):
            self._special.check(text, allowed_special, disallowed_special, f"text {place}")
        if allowed_special:
            return [self._joined(self._encoder.parts(text, allowed_special)) for text in texts]
        return [ids.astype(self._dtype) for ids in self._encoder.batch(texts)]

    def encode_file(
        self,
        paths: PathLike | Sequence[PathLike],
        out: PathLike,
        *,
        separator: str | None = None,
        allowed_special: Names = (),
        disallowed_special: Names = "all",
        progress: Progress | None = None,
    ) -> NDArray[Any]:
        """Encode files of any size into one file of ids, a block at a time.

        Parameters
        ----------
        paths : path or sequence of paths
            Files, and folders of files.
        out : path
            A .npy file, which any NumPy reads: ``np.load(out, mmap_mode="r")``.
        separator : str, optional
            A special token to put after each file.
        allowed_special, disallowed_special
            See `encode`.
        progress : callable, optional
            Called as progress("encoding", bytes, bytes in all).

        Returns
        -------
        array
            The ids, memory-mapped, not to be written to.

        Raises
        ------
        DataError
            A file cannot be read, or has a disallowed special token; ``out`` cannot be written, or
            is one of the files. What was at ``out`` before is still there then.
        """
        return encode_files(
            paths,
            out,
            self._encoder,
            self._special,
            self._dtype,
            separator=separator,
            allowed_special=allowed_special,
            disallowed_special=disallowed_special,
            progress=progress,
        )

    def encode_chat(
        self, messages: Iterable[Mapping[str, str]], *, add_generation_prompt: bool = False
    ) -> NDArray[Any]:
        """Turn a conversation into ids: the role, the content, the end, for each message.

        The special ids are put between those of the contents, which are encoded as ordinary text:
        nothing that a user writes can become a role or an end.

        Parameters
        ----------
        messages : iterable of mappings
            Each with a "role", one of system, user, assistant, and a "content".
        add_generation_prompt : bool
            Put the assistant's role at the end, for a model to go on from.

        Raises
        ------
        ConfigError
            The tokenizer lacks the tokens: ``add_special_tokens(CHAT_TOKENS)`` adds them.
        DataError
            A message without a role or a content, or with an unknown role.
        """
        return self._joined(conversation(messages, self, add_generation_prompt))

    def _joined(self, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        arrays = [part.astype(self._dtype) for part in parts]
        return np.concatenate(arrays) if arrays else np.zeros(0, self._dtype)

    def count(self, text: str | bytes) -> int:
        """How many ids the text has, special tokens taken as ordinary text."""
        return len(self.encode(text, disallowed_special=()))

    # -- decoding ------------------------------------------------------------------------------

    def decode(self, ids: ArrayLike, errors: str = "replace") -> str:
        """Turn ids into text.

        Parameters
        ----------
        ids : array of ints, shape (N,)
        errors : str
            What becomes of bytes that are not UTF-8, as there are when a character has been cut in
            two: "replace" puts U+FFFD, "strict" raises, and so on, as in `bytes.decode`. Half a
            surrogate pair, in its three bytes, is none of them: it was text when it was encoded,
            and comes back as that, under "strict" too.

        Raises
        ------
        IdRangeError
            An id that no token has; the message says which and where.
        DtypeError
            Not a row of whole numbers.
        DataError
            Not UTF-8, and ``errors`` is "strict".
        ConfigError
            ``errors`` is none of those that `bytes.decode` knows.
        """
        return self._decoder.text(ids, errors)

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """Turn ids into the bytes they stand for, exactly. Errors as in `decode`."""
        return self._decoder.joined(ids)

    def token_bytes(self, id_: int) -> bytes:
        """The bytes of one id; a special token's are its name."""
        return self._decoder.token(id_)

    def stream(self) -> TokenStream:
        """Decode ids one after the other, without ever splitting a character.

        What it gives in all is what `decode` gives for all of the ids.

        >>> stream = BPETokenizer().stream()
        >>> [stream.push(id_) for id_ in "né".encode()], stream.flush()
        (['n', '', 'é'], '')
        """
        return TokenStream(self._decoder)

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: PathLike) -> None:
        """Write all of it as JSON that a person can read."""
        own.write(path, self.vocabulary, self.pattern.name or self.pattern.string)

    @classmethod
    def load(cls, path: PathLike) -> BPETokenizer:
        """Read what `save` wrote; DataError where the file is not such a one."""
        return cls(*own.read(path))

    def save_huggingface(self, path: PathLike) -> None:
        """Write a tokenizer.json, which Hugging Face's tokenizers reads and takes the same way."""
        huggingface.write(path, self.vocabulary, self.pattern.name or self.pattern.string)

    @classmethod
    def from_huggingface(cls, path: PathLike) -> BPETokenizer:
        """Read a tokenizer.json; DataError where it says what cannot be done exactly here."""
        return cls(*huggingface.read(path))

    def save_tiktoken(self, path: PathLike) -> None:
        """Write the ranks that tiktoken reads; DataError where it would not give the same ids.

        The file holds neither the pattern nor the special tokens.
        """
        tiktoken.write(path, self.vocabulary)

    @classmethod
    def from_tiktoken(
        cls, path: PathLike, pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> BPETokenizer:
        """Read tiktoken's ranks, with the pattern and special tokens, which are not in the file."""
        return cls(tiktoken.read(path, special_tokens), pattern)

    @classmethod
    def from_gpt2(cls, vocab_bpe: PathLike, encoder_json: PathLike) -> BPETokenizer:
        """Read GPT-2's two files."""
        return cls(gpt2.read(vocab_bpe, encoder_json), "gpt2")

    @classmethod
    def from_llama2c(cls, path: PathLike, vocab_size: int | None = None) -> BPETokenizer:
        """Read a tokenizer.bin of llama2.c, such as tok512.bin."""
        return cls(llama2c.read(path, vocab_size), "none")
