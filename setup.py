"""Adds the samples of config/ to what is built. Everything else is declared in setup.cfg."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path("config")
PACKAGED = Path("gatherer/config/samples")


def samples() -> list[Path]:
    """Return the files of config/, without the pages that explain them."""
    return sorted(path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".rst")


class BuildWithSamples(build_py):
    """Copies the samples into the package; an editable install reads them in config/."""

    def run(self) -> None:
        """Build the package, then add the samples."""
        super().run()
        for sample, copy in [] if self.editable_mode else self._copies():
            self.mkpath(str(copy.parent))
            self.copy_file(str(sample), str(copy), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Return what a source distribution has to contain."""
        return [*super().get_source_files(), *(sample.as_posix() for sample in samples())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what a build leaves behind."""
        copies = [] if self.editable_mode else [str(copy) for _, copy in self._copies()]
        return [*super().get_outputs(include_bytecode), *copies]

    def _copies(self) -> list[tuple[Path, Path]]:
        """Return each sample with the file that the build copies it to."""
        target = Path(self.build_lib, PACKAGED)
        return [(sample, target / sample.relative_to(SOURCE)) for sample in samples()]


setup(cmdclass={"build_py": BuildWithSamples})
