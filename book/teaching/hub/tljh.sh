#!/bin/sh
# The Littlest JupyterHub: limits, culling and environment of a class. Run it
# as an administrator, in this folder of a clone:
#   sudo sh tljh.sh students.txt
# students.txt: a user name a line.
# What is marked `made:` is computed from data/runs/class-limits.json.
set -eu

config=/opt/tljh/hub/bin/tljh-config
pip=/opt/tljh/user/bin/pip

# PyTorch without CUDA, and the library of this clone with its toy language
$pip install -r requirements.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu
$pip install --no-deps ../../..

$config set limits.memory 2048M # made: memory limit
$config set limits.cpu 1 # made: cores limit
$config set user_environment.default_app jupyterlab
$config set services.cull.timeout 3600
$config set services.cull.every 300

# a list from Windows, or without an end of its last line, is a list too
tr -d '\r' <"$1" | while read -r name || [ -n "$name" ]; do
    [ -z "$name" ] || $config add-item users.allowed "$name"
done

cp jupyterhub_config.py /opt/tljh/config/jupyterhub_config.d/class.py
$config reload
