"""Model files (safetensors): what one says of itself, and whether one from elsewhere can be used.

Only the header is read, and nothing in it is run. Nothing here needs torch: the web takes such files in.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.calibration import Calibration
from shared.errors import InvalidInput
from shared.networks import NETWORKS, ComparerName
from shared.specs import Preprocessing

META_KEY = "countersign"  # of the header's metadata
MAX_HEADER = 16 * 2**20  # bytes; the names of the writers stand in it
LENGTH_BYTES = 8  # of the header's length, little-endian, at the beginning of the file
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

Tensor = tuple[str, tuple[int, ...]]  # kind of number, shape

# Of each network, by its channels and whether it learned a distance of its own: the digest of its tensors' names,
# kinds and shapes (see ``fingerprint``). A test holds it to the networks.
FINGERPRINTS: dict[tuple[str, int, bool], str] = {
    ("ink", 1, False): "b17f54f6e9108cc795342b071eac6600",
    ("compact", 1, False): "b92c7cb99fa9591dc90a7d8fb1411e1a",
    ("compact", 1, True): "b4711bece473f9784e814b1376edb7b0",
    ("compact", 3, False): "8edc2b7f6d5029f96ffb6d89fbe0859a",
    ("compact", 3, True): "536e57ac9af63bec9a17f4c34afd73e3",
    ("seed", 1, False): "56ee0ae8151407fe4508abff32ee9f88",
    ("seed", 1, True): "ae2415eb36d668ba2fdb1da8b6076b7e",
    ("seed", 3, False): "cb67344b6dee40c521671b29cdbfaad6",
    ("seed", 3, True): "a1525cfb0dbdb8bfa884bd1b6dc2edaa",
    ("signet", 1, False): "fad0ccd60538ec14b7a8263d0f82630f",
    ("signet", 1, True): "1d8a50620fc0b3f848b081c965ee0dde",
    ("signet", 3, False): "a7fa0cf611c7c5f69da337b23b3f89d0",
    ("signet", 3, True): "96967051b8bdf97b59ad3595cd9af4af",
    ("signet-bn", 1, False): "451ab586b56106a2b15c5a93467008fd",
    ("signet-bn", 1, True): "7f0a69e6c51c95224779543a3cfcc0d7",
    ("signet-bn", 3, False): "4418673be5f18551490d79494d4b273d",
    ("signet-bn", 3, True): "3b5f425c6dc935661d180d9cb23a7cdf",
    ("conv4", 1, False): "6927ed420633deaa5ed6ef47990726ab",
    ("conv4", 1, True): "f9f251c0317279deb596723424e44a20",
    ("conv4", 3, False): "55882fedeff90e23ea3f5a74a8f0c6dd",
    ("conv4", 3, True): "44d97b3d13fd1ee567155afbdd299fc4",
    ("resnet18", 1, False): "6157446bbb5ac50aa2959965d8912dd4",
    ("resnet18", 1, True): "c3596c74bc3071b2ec9e31a58d1b0690",
    ("resnet18", 3, False): "163e04fd2908c32d55b7a7c80e94d5fc",
    ("resnet18", 3, True): "79c57622398fa4661f46e903ddf426b6",
    ("resnet34", 1, False): "a329f794eedf47bcd4474a62153c9542",
    ("resnet34", 1, True): "17e76175352e323b3ba68a72ecd06bc5",
    ("resnet34", 3, False): "2239fbbea6804e7f9f425a1afc4d1d30",
    ("resnet34", 3, True): "37372a0d97fcd3a3e2dccd9457f1451a",
    ("resnet50", 1, False): "503814ae98bb67e84bb0748b1f4a8ff3",
    ("resnet50", 1, True): "871004eceb047e300022b073095832a2",
    ("resnet50", 3, False): "44ff80c516430f38911d559f0e4283f7",
    ("resnet50", 3, True): "d1f9932cd5373e2797cf434d8e882126",
}


class ModelMeta(BaseModel):
    """What a model file says beside its weights: enough to score a comparison from the file alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    preprocessing: Preprocessing
    threshold: float = Field(ge=0, allow_inf_nan=False, description="accept if distance <= threshold")
    comparer: ComparerName = Field(default="euclidean", description="how two representations are compared")
    training: dict[str, Any] = Field(default_factory=dict, description="summary of the training, fit for JSON")
    calibration: Calibration | None = Field(default=None, description="distances to likelihood ratios and verdicts")

    @property
    def summary(self) -> dict[str, Any]:
        """What the registry keeps of a model: the training's summary, and the calibration where there is one."""
        if self.calibration is None:
            return self.training
        return self.training | {"calibration": self.calibration.model_dump(mode="json")}


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits that tell whether two networks have tensors of the same names, kinds and shapes."""
    lines = "\n".join(f"{name} {kind} {shape}" for name, (kind, shape) in sorted(tensors.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def check_model_file(file: BinaryIO, size: int) -> ModelMeta:
    """What the model file of ``size`` bytes says of itself, once its header was found to be whole and fit for us.

    Whether its numbers are finite is seen when a worker first loads it.

    Raises:
        InvalidInput: code ``model_file_invalid`` (no safetensors, or cut off), ``model_file_foreign`` (not written by
            Countersign, or by another version), ``network_unknown`` or ``weights_unfit``.
    """
    header, room = _read_header(file, size)
    meta = _meta_of(header.pop("__metadata__", None))
    tensors = _tensors_of(header, room)
    if meta.network not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise InvalidInput(
            "network_unknown", f"The network {meta.network[:40]!r} is not known here; known are {known}."
        )
    info, canvas = NETWORKS[meta.network], meta.preprocessing
    wanted = FINGERPRINTS.get((meta.network, canvas.channels, meta.comparer == "weighted-l1"))
    own_comparer = (meta.comparer == "local") == (info.comparer == "local")
    if (canvas.height, canvas.width) != (info.height, info.width) or not own_comparer or fingerprint(tensors) != wanted:
        message = f"The weights, the canvas or the comparison in the file are not those of the network {meta.network}."
        raise InvalidInput("weights_unfit", f"{message} Export it again from this version of Countersign.")
    return meta


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes of weights follow it."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 2 <= length <= min(MAX_HEADER, size - LENGTH_BYTES):
        raise _invalid()
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(header, dict):
        raise _invalid()
    return header, size - LENGTH_BYTES - length


def _meta_of(metadata: Any) -> ModelMeta:
    text = metadata.get(META_KEY) if isinstance(metadata, dict) else None
    try:
        return ModelMeta.model_validate_json(text if isinstance(text, str) else "")
    except ValidationError as error:
        raise InvalidInput(
            "model_file_foreign",
            "The file is safetensors, but no model that this version of Countersign wrote. Send one that was "
            "downloaded from a model's page, or train one here.",
        ) from error


def _tensors_of(header: Mapping[str, Any], room: int) -> dict[str, Tensor]:
    """The tensors by name; they must fill the ``room`` bytes behind the header one after the other."""
    try:
        told = {
            name: (str(one["dtype"]), tuple(int(n) for n in one["shape"]), [int(n) for n in one["data_offsets"]])
            for name, one in header.items()
        }
        end = 0
        for kind, shape, (start, stop) in sorted(told.values(), key=lambda one: one[2]):
            if min(shape, default=1) < 0 or start != end or stop - start != math.prod(shape) * ITEM_BYTES[kind]:
                raise _invalid()
            end = stop
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise _invalid() from error
    if end != room:
        raise _invalid()
    return {name: (kind, shape) for name, (kind, shape, _) in told.items()}


def _invalid() -> InvalidInput:
    message = "The file is no whole safetensors file. Send it again; compare its digest with the one you have."
    return InvalidInput("model_file_invalid", message)
