// A page that was opened as a file may not read other files, so it shows no summaries of them.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
