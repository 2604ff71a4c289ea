"""Check the conda recipe and the configuration of cibuildwheel: render the recipe for each platform, and compare the
wheels that would be built with those that are promised. Needs the dependency group metadata.
"""

import subprocess
import sys
from pathlib import Path

import rattler_build

ROOT = Path(__file__).parent.parent
PYTHONS = ("cp311", "cp312", "cp313", "cp314", "cp314t")
WHEELS = {
    "linux": ("manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64"),
    "macos": ("macosx_x86_64", "macosx_arm64"),
    "windows": ("win_amd64",),
}
ARCHITECTURES = {"linux": "x86_64,aarch64", "macos": "x86_64,arm64", "windows": "AMD64"}
# Settings of conda-forge that rendering needs: compiler, C library, Python.
VARIANTS = {"c_stdlib": ["sysroot"], "c_stdlib_version": ["2.17"], "c_compiler": ["gcc"], "python": ["3.13.* *_cp313"]}


def check_recipe() -> None:
    recipe = rattler_build.Stage0Recipe.from_yaml((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    for platform in ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64"):
        chosen = rattler_build.PlatformConfig(
            target_platform=platform, build_platform="linux-64", host_platform=platform
        )
        made = recipe.render(rattler_build.VariantConfig(VARIANTS), rattler_build.RenderConfig(chosen))
        assert len(made) == 1, (platform, made)
    print("recipe: renders on every platform")


def check_wheels() -> None:
    for platform, tags in WHEELS.items():
        command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", platform]
        done = subprocess.run(
            [*command, "--archs", ARCHITECTURES[platform], str(ROOT)], check=True, capture_output=True, text=True
        )
        wanted = {f"{python}-{tag}" for python in PYTHONS for tag in tags}
        assert set(done.stdout.split()) == wanted, (platform, wanted ^ set(done.stdout.split()))
        print(f"wheels: {len(wanted)} for {platform}")


if __name__ == "__main__":
    check_recipe()
    check_wheels()
