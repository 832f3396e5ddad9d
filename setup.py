"""Package metadata: every value is read from settings.ini, its one home."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="], interpolation=None)
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    license="Apache-2.0",
    keywords=settings["keywords"].split(),
    python_requires=f">={settings['min_python']}",
    packages=find_packages(include=["clnb", "clnb.*"]),
    package_data={"clnb.views": ["static/*.js", "static/*.css"]},
    install_requires=settings["requirements"].split(),
    extras_require={name: settings[f"{name}_requirements"].split() for name in ("dev", "geo")},
    zip_safe=False,
)
