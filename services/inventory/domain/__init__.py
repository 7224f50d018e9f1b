"""The rules of stock: values in, decisions out."""
