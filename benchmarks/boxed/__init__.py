"""The model in the box: made from generated signatures, measured on people's, and improved by a few people's."""
