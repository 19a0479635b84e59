"""How a candidate's next-token distributions differ from a reference's, over texts."""

from pydantic import Field

from gate.terms import Noun


class DocumentDivergence(Noun):
    """Sums over the tokens of one document; a document is what varies independently.

    Attributes:
        id: its line in the text file, from 0.
        tokens: tokens compared.
        kl: sum of KL(reference || candidate), in nats.
        same_top: tokens where both hold the same token most probable.
        nll_reference: summed negative log-probability of the text under the reference, in nats.
        nll_candidate: the same under the candidate.
        delta_p: summed change of the probability of the text's own tokens, candidate less
            reference.
    """

    id: int
    tokens: int
    kl: float
    same_top: int
    nll_reference: float
    nll_candidate: float
    delta_p: float


class Guess(Noun):
    """A token and the probability a model gives it."""

    token: str
    probability: float


class WorstToken(Noun):
    """A place where the two differ most, with what stands before it.

    Attributes:
        document: its document's id.
        position: its token's number in the document.
        kl: KL(reference || candidate) there, in nats.
        context: the text before it, its last 200 characters.
        token: the token that the text has there.
        reference: the tokens the reference holds most probable, first the most.
        candidate: those of the candidate, at the reference's tokens.
    """

    document: int
    position: int
    kl: float
    context: str
    token: str
    reference: tuple[Guess, ...]
    candidate: tuple[Guess, ...]


class Shortfall(Noun):
    """By how much the bound falls short of the KL over the full vocabulary, on sampled places.

    Attributes:
        tokens: places sampled, at which the reference's full distribution was kept.
        bound: mean of the lower bound there, in nats a token.
        full: mean of the full KL there, in nats a token.
    """

    tokens: int
    bound: float
    full: float


class Distribution(Noun):
    """One candidate against one reference on one text.

    Attributes:
        variant: the candidate; 'NAME again' for a second reading, in batches of another size.
        reference: the variant compared with.
        text: the text's name in the suite.
        tokens_hash: sha256 of every token id read, the same for both.
        documents: sums over each document.
        kl_percentiles: {percentile: KL in nats} over tokens, from "0" to "100" (the largest).
        delta_p_percentiles: {percentile: change of the probability of the text's token}.
        delta_p_rms: root mean square of that change.
        top: tokens of the reference whose probabilities were compared; None for all of them.
        shortfall: of the lower bound that the comparison at `top` tokens is; None for the full
            vocabulary, and where an engine does not give it.
        worst: places where the two differ most, first the worst.
        warnings: what was read otherwise than asked, in sentences.
    """

    variant: str
    reference: str
    text: str
    tokens_hash: str
    documents: tuple[DocumentDivergence, ...]
    kl_percentiles: dict[str, float] = Field(default={})
    delta_p_percentiles: dict[str, float] = Field(default={})
    delta_p_rms: float
    top: int | None = None
    shortfall: Shortfall | None = None
    worst: tuple[WorstToken, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens compared, over all documents."""
        return sum(one.tokens for one in self.documents)
