"""JupyterLab opens notebook 00, asks for no news, and saves only what you changed."""


def without_python_version(model: dict, **_) -> None:
    """The version of Python is this machine's own business, not the notebook's."""
    if model["type"] == "notebook":
        model["content"]["metadata"].get("language_info", {}).pop("version", None)


c = get_config()  # noqa: F821
c.LabApp.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"  # at pypi.org
c.FileContentsManager.pre_save_hook = without_python_version
