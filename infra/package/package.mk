# What `sam build` calls for each function: `make build-<function>` with ARTIFACTS_DIR, the folder to fill.
# SAM does not say for which architecture. So template.yaml names another makefile for each (Metadata, ContextPath),
# and the name of its folder says it.
architecture := $(notdir $(abspath $(dir $(firstword $(MAKEFILE_LIST)))))
root := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../..)

build-%:
	@"$(root)/scripts/build-lambda" "$(architecture)" "$(ARTIFACTS_DIR)"
