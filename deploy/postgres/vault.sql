CREATE DATABASE duly_vault;
