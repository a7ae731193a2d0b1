"""The model card of a preset, `README.md`, as the hub shows it."""

from typing import Any

_ABOUT = {
    "Segmenter": "Segmentation of 3D images `(B, D, H, W, 1)`, min-max normalised, into logits.",
    "VoxelMorph": "Deformable registration of two 3D images `(B, D, H, W, C)` on one grid.",
}
_FEATURES = "Contrast-invariant 3D features for images `(B, D, H, W, 1)`, min-max normalised."


def model_card(name: str, about: dict[str, Any], arguments: dict[str, Any]) -> str:
    """Fill the template from what is known of a network.

    Args:
        name: The preset's name.
        about: `metadata.json`; a `licence` becomes the hub's licence field, and whatever a run
            reached becomes a row of the table.
        arguments: The network's constructor arguments.
    """
    kind, own = about["class"], about.get("loader", about["class"])
    header = ["---", "library_name: keras", "tags: [anyvox_keras, 3d, medical-imaging]"]
    if "licence" in about:
        header.append(f"license: {str(about['licence']).lower()}")
    load = f"avx.{own}.from_preset" if own == kind else "avx.networks.load_network"
    parts = [
        "\n".join([*header, "---"]),
        f"# {about.get('name', name)}",
        _ABOUT.get(kind, _FEATURES),
        f'    import anyvox_keras as avx\n\n    network = {load}("<this folder>")',
        _table("fact", {key: value for key, value in about.items() if key != "loader"}),
        _table("argument", {f"`{k}`": v for k, v in arguments.items() if not _nested(v)}),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(title: str, rows: dict[str, Any]) -> str:
    if not rows:
        return ""
    lines = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"| {title} | value |\n|---|---|\n{lines}"


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_nested, value)))
