"""From each tensor of the base to what the adapters do to it, and what of them is left over."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gate.auditing.adapters import AdapterParts, Factors
from gate.auditing.changes import Change, Product, RowValues, matrix_view
from gate.auditing.names import align, expert_tensor
from gate.auditing.orientation import expert_product, module_product, vector_product

if TYPE_CHECKING:
    from torch import Tensor

_FUSED = ("gate_up_proj", "down_proj")


@dataclass(frozen=True)
class Site:
    """Matrices of an adapter for one parameter.

    Attributes:
        module: the module they are saved for.
        parameter: the parameter's name in the model.
        factors: the matrices.
    """

    module: str
    parameter: str
    factors: Factors


@dataclass
class Places:
    """What one adapter does, by the names of the base's tensors.

    Attributes:
        parts: the adapter.
        number: its position among those given.
        names: {name in the model: name in the base}.
        consumed: names of the adapter's tensors that act on a tensor of the base.
        misfits: sentences on tensors whose shape does not fit.
    """

    parts: AdapterParts
    number: int
    names: Mapping[str, str]
    consumed: set[str] = field(default_factory=set)
    misfits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sort what the adapter has by the base's names."""
        self._sites: defaultdict[str, list[Site]] = defaultdict(list)
        for site in sites(self.parts):
            self._sites[self.names.get(site.parameter, site.parameter)].append(site)
        self._biases = {
            self.names.get(f"{site.module}.bias", f"{site.module}.bias"): site
            for here in self._sites.values()
            for site in here
            if site.factors.bias is not None
        }
        self._replaced = {
            self.names.get(name, name): (name, key) for name, key in self.parts.replaced.items()
        }
        self._rows = {
            self.names.get(f"{module}.weight", f"{module}.weight"): (module, key)
            for module, key in self.parts.rows.items()
        }

    def change(self, name: str, tensor: "Tensor", config: Mapping[str, Any]) -> Change | None:
        """What the adapter does to one tensor of the base; None where nothing.

        Args:
            name: the tensor's name in the base.
            tensor: the tensor.
            config: the base's config.json.
        """
        keys: list[str] = []
        replacement = self._replacement(name, tensor, keys)
        ground = tensor if replacement is None else replacement
        product = self._product(name, ground, config, keys)
        rows = self._row_values(name, ground, keys)
        self.consumed.update(keys)
        if replacement is None and product is None and rows is None:
            return None
        return Change(
            adapter=self.number,
            weight=self.parts.adapter.weight,
            replacement=None if replacement is None else matrix_view(replacement),
            product=product,
            rows=rows,
            keys=tuple(keys),
        )

    def saves_a_copy(self, name: str) -> bool:
        """Whether modules_to_save replaces a tensor, so that one tied to it keeps the base's."""
        if name not in self._replaced:
            return False
        return self.parts.is_saved_module(self._replaced[name][0].rpartition(".")[0])

    def leftovers(self) -> list[str]:
        """A sentence for each tensor of the adapter that acts on nothing."""
        name = self.parts.adapter.name
        return self.misfits + [
            f"adapter {name}: {key} acts on no tensor of the base model"
            for key in self.parts.tensors
            if key not in self.consumed and not any(key in misfit for misfit in self.misfits)
        ]

    def _replacement(self, name: str, tensor: "Tensor", keys: list[str]) -> "Tensor | None":
        if name not in self._replaced:
            return None
        key = self._replaced[name][1]
        value = self.parts.tensors[key]
        if value.ndim != tensor.ndim or value.shape[1:] != tensor.shape[1:]:
            self._misfit(key, value, name, tensor)
            return None
        keys.append(key)
        return value

    def _product(
        self, name: str, tensor: "Tensor", config: Mapping[str, Any], keys: list[str]
    ) -> Product | None:
        if name in self._biases:
            site = self._biases[name]
            keys += [key for key in site.factors.keys if key.endswith(".bias")]
            bias = site.factors.bias
            return None if bias is None else vector_product(self.parts, site.module, bias)
        place = expert_tensor(name)
        fused = f"{place.container}.{place.parameter}" if place else name
        for site in self._sites.get(name) or self._sites.get(fused) or ():
            if place is not None and site.parameter.endswith(_FUSED) and fused in self._sites:
                product = expert_product(
                    self.parts,
                    site.parameter,
                    site.factors,
                    place=place,
                    tensor=tensor,
                    config=config,
                )
            else:
                product = module_product(self.parts, site.module, site.factors, tensor, config)
            if product is None and site.factors.up is not None:
                self._misfit(site.factors.keys[0], site.factors.up, name, tensor)
            else:
                keys += [key for key in site.factors.keys if not key.endswith(".bias")]
                return product
        return None

    def _row_values(self, name: str, tensor: "Tensor", keys: list[str]) -> RowValues | None:
        import torch

        if name not in self._rows:
            return None
        module, key = self._rows[name]
        numbers = torch.tensor(self.parts.token_rows(module), dtype=torch.int64)
        values = self.parts.tensors[key]
        is_inside = bool(((numbers >= 0) & (numbers < tensor.shape[0])).all())
        if values.shape != (len(numbers), *tensor.shape[1:]) or not is_inside:
            self._misfit(key, values, name, tensor)
            return None
        keys.append(key)
        order = numbers.argsort()
        return RowValues(numbers[order], values[order])

    def _misfit(self, key: str, value: "Tensor", name: str, tensor: "Tensor") -> None:
        if any(key in misfit for misfit in self.misfits):
            return
        self.misfits.append(
            f"adapter {self.parts.adapter.name}: {key} of shape {tuple(value.shape)} does not fit "
            f"{name} of shape {tuple(tensor.shape)}"
        )


def sites(parts: AdapterParts) -> list[Site]:
    """Each pair of an adapter's matrices with the parameter it is for.

    Where several parameters of one module are adapted, peft 0.21 nests their wrappers, the first
    parameter of the module innermost.
    """
    depths: defaultdict[str, list[int]] = defaultdict(list)
    for module, depth in parts.factors:
        depths[module].append(depth)
    found = []
    for module, here in depths.items():
        parameters = _target_parameters(parts, module)
        for depth in here:
            place = len(parameters) - 1 - depth
            parameter = parameters[place] if place >= 0 and len(here) == len(parameters) else None
            name = f"{module}.{parameter or 'weight'}"
            found.append(Site(module, name, parts.factors[module, depth]))
    return found


def wanted_names(parts: AdapterParts) -> set[str]:
    """The model's names of all the parameters an adapter acts on."""
    names = set(parts.replaced) | {f"{module}.weight" for module in parts.rows}
    for site in sites(parts):
        names.add(site.parameter)
        if site.factors.bias is not None:
            names.add(f"{site.module}.bias")
    return names


def known_names(tensors: Sequence[str]) -> set[str]:
    """The base's names, with those of the fused parameters that its experts make up."""
    known = set(tensors)
    for name in tensors:
        if place := expert_tensor(name):
            known.add(f"{place.container}.{place.parameter}")
    return known


def place(
    parts: Sequence[AdapterParts], tensors: Sequence[str], aliases: Mapping[str, str]
) -> list[Places]:
    """Every adapter by the base's names.

    Args:
        parts: the adapters.
        tensors: names of the base's tensors.
        aliases: {name in the model: name in the base} of those that go by two names.
    """
    wanted = set().union(*(wanted_names(one) for one in parts))
    names = {name: aliases[name] for name in wanted if name in aliases}
    names |= align(sorted(wanted - names.keys()), known_names(tensors))
    return [Places(one, number, names) for number, one in enumerate(parts)]


def _target_parameters(parts: AdapterParts, module: str) -> list[str]:
    """The parameters of a module, besides its weight, that target_parameters names, in order."""
    targets = parts.config.get("target_parameters") or ()
    named = {
        target.rpartition(".")[2]
        for target in targets
        if f"{module}.{target.rpartition('.')[2]}".endswith(f".{target}")
        or target == f"{module}.{target.rpartition('.')[2]}"
    }
    named.discard("weight")
    order = {name: number for number, name in enumerate(_FUSED)}
    return sorted(named, key=lambda name: (order.get(name, -1), name))
