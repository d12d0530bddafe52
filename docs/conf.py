"""Sphinx configuration. Everything is built from this checkout; nothing is fetched."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from pathlib import Path

from airflow_flink_iceberg import __version__

# Autodoc imports Airflow, which writes a configuration file into its home on the first import.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-flink-iceberg-docs-")
atexit.register(_airflow_home.cleanup)
os.environ["AIRFLOW_HOME"] = _airflow_home.name

project = "airflow-flink-iceberg"
author = "The airflow-flink-iceberg authors"
copyright = author
release = version = __version__

sys.path.append(str(Path(__file__).parent / "_ext"))
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "from_code",
]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "evidence/*"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True}

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
