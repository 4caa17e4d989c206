"""JupyterLab opens notebook 00, and saving a notebook changes only what you changed."""


def without_python_version(model: dict, **_) -> None:
    """The version of Python is this machine's own business, not the notebook's."""
    if model["type"] == "notebook":
        model["content"]["metadata"].get("language_info", {}).pop("version", None)


c = get_config()  # noqa: F821
c.LabApp.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.FileContentsManager.pre_save_hook = without_python_version
