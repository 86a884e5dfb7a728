"""Everything else is in pyproject.toml: here is only what a wheel with a shared library in it is called."""

import os

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "librevenium", "_lib")
HAS_LIBRARY = os.path.isdir(LIBRARY) and bool(os.listdir(LIBRARY))


class BinaryDistribution(Distribution):
    """A wheel without the library is for every platform, one with it for its own."""

    def has_ext_modules(self):
        return HAS_LIBRARY


class PlatformWheel(bdist_wheel):
    """For any Python 3: the library is loaded, not linked."""

    def get_tag(self):
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if HAS_LIBRARY else (python, abi, platform)


setup(cmdclass={"bdist_wheel": PlatformWheel}, distclass=BinaryDistribution)
