"""What a quantizer says of itself, by functions beside its verb."""

from gate import extensions
from gate.terms import Use, Variant


def calibrates(use: Use) -> bool:
    """Whether what a quantizer gives depends on the calibration inputs."""
    extension = extensions.find("quantizers", use.name)
    calibrates = getattr(extension.module, "calibrates", None)
    if calibrates is None:
        return extension.takes("calibration")
    return bool(calibrates(use.params))


def converts(use: Use) -> bool:
    """Whether a quantizer reads another form of the merge, made once for all its parameters.

    One that does has a function `convert(model, out, *, ...)`, whose `out` its verb then takes as
    `converted`; by `converts(params) -> bool` it leaves some parameters out.
    """
    module = extensions.find("quantizers", use.name).module
    if not hasattr(module, "convert"):
        return False
    converts = getattr(module, "converts", None)
    return converts is None or bool(converts(use.params))


def packages_of(variant: Variant) -> tuple[str, ...]:
    """Packages whose kernels may run a quantized checkpoint: those that wrote it."""
    if variant.quantize is None:
        return ()
    return extensions.find("quantizers", variant.quantize.name).packages
