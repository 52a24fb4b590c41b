#!/usr/bin/env bash
# huggingface_hub 2.4.0, Python 3.11: `HfApi.upload_folder` on a folder in which a folder is a symbolic link.
# It lists files by pathlib's `**`, which enters no linked folder: links to files are followed and their content is sent,
# links to folders are left out, without a word. `ignore_patterns` and `allow_patterns` only choose among what was listed.
# A folder that is itself named by a link is read as any other.
# Seen on 2026-11-28: of a folder with `data.txt`, a linked file and a linked folder, the linked folder's file is missing.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check huggingface_hub==2.4.0
mkdir -p elsewhere/shards out
echo 1 > elsewhere/one.txt; echo 1 > elsewhere/shards/a.tar
echo 1 > out/data.txt; ln -s ../elsewhere/one.txt out/one.txt; ln -s ../elsewhere/shards out/shards
cat > listed.py <<'P'
import sys
from huggingface_hub import HfApi
class Asked(HfApi):
    def _prepare_upload_folder_additions(self, *args, **how):
        found = super()._prepare_upload_folder_additions(*args, **how)
        print(*sorted(one.path_in_repo for one in found))
        raise SystemExit
Asked(token=False).upload_folder(repo_id="owner/name", repo_type="dataset", folder_path=sys.argv[1], token=False)
P
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
whole=$(env/bin/python listed.py out)
named=$(env/bin/python listed.py out/shards)
echo "out: $whole; out/shards, a link: $named"
[ "$whole" = "data.txt one.txt" ] || { echo "changed: linked folders are entered"; exit 1; }
[ "$named" = "a.tar" ] || { echo "changed: a folder that is named by a link is not read"; exit 1; }
